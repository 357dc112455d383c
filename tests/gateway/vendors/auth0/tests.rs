//! What Auth0's preset makes of Auth0.

use super::Auth0;
use crate::vendors::table;

/// Auth0 has no introspection and its secrets have no end; a client without a client grant is a
/// fault of the operator's, who grants it.
#[tokio::test]
async fn each_credential_in_each_way() {
    table::holds::<Auth0>(
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
