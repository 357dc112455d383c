//! What Wso2's preset makes of Wso2.

use super::Wso2;
use crate::vendors::table;

#[tokio::test]
async fn each_credential_in_each_way() {
    table::holds::<Wso2>(
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
