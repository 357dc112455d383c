//! What Curity's preset makes of Curity.

use super::Curity;
use crate::vendors::table;

#[tokio::test]
async fn each_credential_in_each_way() {
    table::holds::<Curity>(
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
