//! Tokens of Sessions. Who has one is who made the Session: that is asked of the object, whose seal is looked at each time.

use std::sync::Arc;

use async_trait::async_trait;
use kube::Client;
use kube::api::{Api, DeleteParams, Preconditions};
use tokio::sync::watch;

use super::authority::{Authority, AuthorityError, Identity, Right};
use super::kubernetes::with_timeout;
use crate::crd::Trust;
use crate::crd::session::Session;
use crate::crd::session::token::SessionToken;
use crate::domain::Principal;
use crate::shared::Clock;

/// Knows tokens of Sessions itself, and asks `others` about all others, and about rights.
pub struct SessionAuthority<A> {
    /// Who answers the rest.
    pub others: A,
    pub client: Client,
    /// Which seals are believed.
    pub trust: watch::Receiver<Arc<Trust>>,
    pub clock: Clock,
}

#[async_trait]
impl<A: Authority> Authority for SessionAuthority<A> {
    fn audiences(&self) -> &[String] {
        self.others.audiences()
    }

    async fn identify(&self, token: &str) -> Result<Option<Identity>, AuthorityError> {
        if !SessionToken::is_one(token) {
            return self.others.identify(token).await;
        }
        let trust = self.trust.borrow().clone();
        let Some(known) = SessionToken::verify(token, &trust.keys) else { return Ok(None) };
        if known.exp <= self.clock.now().as_second() {
            return Ok(None);
        }
        let sessions: Api<Session> = Api::namespaced(self.client.clone(), &known.namespace);
        let session = with_timeout("read a Session", sessions.get_opt(&known.name)).await?;
        let session = session.filter(|session| {
            let metadata = &session.metadata;
            metadata.uid.as_deref() == Some(&*known.uid) && metadata.deletion_timestamp.is_none()
        });
        Ok(session.and_then(|session| session.owner(&trust)).and_then(identity))
    }

    async fn permit(&self, identity: &Identity, right: &Right) -> Result<bool, AuthorityError> {
        self.others.permit(identity, right).await
    }
}

/// What authorizers are asked about; nobody of whom too much is said to be kept.
fn identity(owner: Principal) -> Option<Identity> {
    let (groups, extra) = (owner.groups()?, owner.extra()?);
    Some(Identity { username: owner.user, uid: owner.uid, groups, extra })
}

/// Ends a Session, and its token with it.
///
/// # Errors
/// If the API server does not answer. One that is gone has ended.
pub async fn end(client: &Client, token: SessionToken) -> Result<(), AuthorityError> {
    let sessions: Api<Session> = Api::namespaced(client.clone(), &token.namespace);
    let preconditions = Preconditions { uid: Some(token.uid), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let deleted = async {
        match sessions.delete(&token.name, &parameters).await {
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
            done => done.map(|_| ()),
        }
    };
    with_timeout("end a Session", deleted).await
}
