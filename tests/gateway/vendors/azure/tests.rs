//! What Azure's preset makes of Entra.

use super::Azure;
use crate::vendors::table;

#[tokio::test]
async fn each_credential_in_each_way_v2() {
    table::holds::<Azure<2>>(
        "credential | basic | jwt | opaque | session
         right | ? | ? | ? | ?
         wrong | ? | ? | ? | ?
         rotated | ? | ? | ? | ?
         expired | ? | ? | ? | ?
         unknown here | ? | ? | ? | ?
         unknown there | ? | ? | ? | ?
         without scope | ? | ? | ? | ?
         without grant | ? | ? | ? | ?
         not registered | ? | ? | ? | ?",
    )
    .await;
}

#[tokio::test]
async fn each_credential_in_each_way_v1() {
    table::holds::<Azure<1>>(
        "credential | basic | jwt | opaque | session
         right | ? | ? | ? | ?
         wrong | ? | ? | ? | ?
         rotated | ? | ? | ? | ?
         expired | ? | ? | ? | ?
         unknown here | ? | ? | ? | ?
         unknown there | ? | ? | ? | ?
         without scope | ? | ? | ? | ?
         without grant | ? | ? | ? | ?
         not registered | ? | ? | ? | ?",
    )
    .await;
}
