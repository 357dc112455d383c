//! Passwords, of which digests by Argon2id are kept, with the parameters that its library recommends
//! (RFC 9106; 19 MiB, two passes).

use std::{sync::Arc, time::Duration};

use argon2::{
    Argon2, PasswordHasher as _, PasswordVerifier as _, password_hash::phc::PasswordHash,
};
use tokio::sync::Semaphore;

use crate::{model::credential::Secret, portal::Error};

/// Digests made at once: each takes a core and 19 MiB, and requests come first.
const AT_ONCE: usize = 2;

/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a password is held against where there is none, so that this takes as long. Nobody knows a
/// password for it: the digest was drawn, not computed.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$\
     c2FsdCBvZiBub2JvZHkuLg$nq8pV0lDYyYd2fS7mVxZ0L0m3gJm2c2P4m0kS1o3p6E";

/// Makes and checks digests, a few at a time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Passwords(Arc<Semaphore>);

impl Default for Passwords {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Passwords {
    /// The digest of a password, as a PHC string.
    pub(super) async fn digest(&self, password: Secret) -> Result<String, Error> {
        let made = self.work(move || {
            let made: Result<PasswordHash, _> =
                Argon2::default().hash_password(password.expose().as_bytes());
            made.map(|digest| digest.to_string())
        });
        made.await?.map_err(|_| Error::Overloaded)
    }

    /// Whether this is the password of a digest. Takes as long without one.
    pub(super) async fn verify(
        &self,
        password: Secret,
        digest: Option<String>,
    ) -> Result<bool, Error> {
        self.work(move || {
            let kept = digest.as_deref().unwrap_or(DECOY);
            let verified = Argon2::default().verify_password(password.expose().as_bytes(), kept);
            verified.is_ok() && digest.is_some()
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let place = tokio::time::timeout(PATIENCE, self.0.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(Error::Overloaded);
        };
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        });
        done.await.map_err(|_| Error::Overloaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again() {
        let passwords = Passwords::default();
        let right = Secret::new("correct horse battery");
        let digest = passwords.digest(right.clone()).await.unwrap();
        let digest = Some(digest);
        assert!(
            passwords
                .verify(right.clone(), digest.clone())
                .await
                .unwrap()
        );
        let wrong = Secret::new("correct horse batterz");
        assert!(!passwords.verify(wrong, digest).await.unwrap());
        assert!(!passwords.verify(right, None).await.unwrap());
    }

    #[tokio::test]
    async fn the_decoy_costs_what_a_digest_costs() {
        let digest = Passwords::default().digest(Secret::new("a")).await.unwrap();
        let parts = |text: &str| -> Vec<String> { text.split('$').map(str::to_owned).collect() };
        let (made, decoy) = (parts(&digest), parts(DECOY));
        assert_eq!(made[..4], decoy[..4], "the same algorithm and parameters");
        let lengths = |parts: &[String]| [parts[4].len(), parts[5].len()];
        assert_eq!(lengths(&made), lengths(&decoy));
        assert!(PasswordHash::new(DECOY).is_ok());
    }
}
