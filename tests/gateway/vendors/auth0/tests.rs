//! What Auth0's preset makes of Auth0.

use super::Auth0;
use crate::vendors::table;

/// Auth0 has no introspection and its secrets have no end; a client without a client grant is a
/// fault of the operator's, who grants it.
#[tokio::test]
async fn each_credential_in_each_way() {
    table::holds::<Auth0>(
        "credential     | basic                           | jwt                             | opaque                            | session
         right          | 200 t1                          | 200                             | 401 invalid_token not_a_jwt cure  | 200
         wrong          | 401 invalid_client wrong_secret t1 | 401 invalid_token signature | 401 invalid_token not_a_jwt cure  | 401 invalid_session session_unreadable",
    )
    .await;
}
