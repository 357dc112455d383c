//! What Okta's preset makes of Okta.

use super::Okta;
use crate::vendors::table;

#[tokio::test]
async fn each_credential_in_each_way() {
    table::holds::<Okta>(
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
