//! The way to the API: a port-forward to one of the operator's pods, or, for who may not forward ports there, the API server's
//! proxy to its Service.

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Portforwarder};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Context, refused};

/// What keeps bodies alike, whichever way they come.
pub type Body = UnsyncBoxBody<Bytes, anyhow::Error>;

/// The labels of the operator's pods.
const OPERATOR: &str = "app.kubernetes.io/name=jct,app.kubernetes.io/component=operator";

/// A way that was found. Cheap to clone.
#[derive(Clone)]
pub enum Transport {
    /// To this port of this pod.
    Forward {
        /// Pods of the operator's namespace.
        pods: Api<Pod>,
        /// Its name.
        pod: String,
        /// The API's.
        port: u16,
    },
    /// Through the API server.
    Proxy {
        /// The API server.
        client: kube::Client,
        /// Where the Service begins.
        prefix: String,
    },
}

impl Transport {
    /// The way for this person.
    ///
    /// # Errors
    /// If no pod of the operator is there.
    pub async fn find(context: &Context) -> anyhow::Result<Self> {
        let (namespace, service) = (&context.operator_namespace, &context.service);
        let proxy = || Self::Proxy {
            client: context.client.clone(),
            prefix: format!("/api/v1/namespaces/{namespace}/services/{service}:http/proxy"),
        };
        let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
        let found = match pods.list(&ListParams::default().labels(OPERATOR)).await {
            Ok(found) => found.items,
            Err(kube::Error::Api(status)) if status.code == 403 => return Ok(proxy()),
            Err(error) => return Err(refused(error)),
        };
        let Some((pod, port)) = found.iter().find_map(target) else {
            bail!("no pod of JCT's operator is ready in namespace {namespace:?}: see --operator-namespace");
        };
        match pods.portforward(&pod, &[port]).await {
            Ok(forward) => {
                forward.abort();
                Ok(Self::Forward { pods, pod, port })
            }
            // Who may see pods may still not forward to them.
            Err(error) if is_forbidden(&error) => Ok(proxy()),
            Err(error) => Err(error).with_context(|| format!("cannot forward to pod {pod}")),
        }
    }

    /// A connection of its own through the port-forward, which ends when what keeps it is dropped.
    ///
    /// # Errors
    /// If there is none.
    pub async fn stream(&self) -> anyhow::Result<(impl AsyncRead + AsyncWrite + Unpin + use<>, Portforwarder)> {
        let Self::Forward { pods, pod, port } = self else { bail!("there is no port-forward") };
        let mut forward = pods.portforward(pod, &[*port]).await.context("cannot forward to the operator's pod")?;
        let stream = forward.take_stream(*port).ok_or_else(|| anyhow!("the port is not forwarded"))?;
        Ok((stream, forward))
    }

    /// Asks, each time on a connection of its own: what is followed holds up nothing.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send(&self, mut request: Request<Bytes>) -> anyhow::Result<Response<Body>> {
        match self {
            Self::Forward { .. } => {
                let (stream, forward) = self.stream().await?;
                let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .context("the API does not answer")?;
                tokio::spawn(async move {
                    let _ = connection.await;
                    drop(forward);
                });
                let headers = request.headers_mut();
                headers.entry(http::header::HOST).or_insert(HeaderValue::from_static("jct-api"));
                let answer = sender.send_request(request.map(Full::new)).await.context("the API does not answer")?;
                // The connection goes on as long as its body is read.
                Ok(answer.map(|body| body.map_err(anyhow::Error::new).boxed_unsync()))
            }
            Self::Proxy { client, prefix } => {
                let path = request.uri().path_and_query().map_or("", |path| path.as_str());
                let uri: Uri = format!("{prefix}{path}").parse()?;
                *request.uri_mut() = uri;
                let request = request.map(|body| kube::client::Body::from(body.to_vec()));
                let answer = client.send(request).await.context("the API server does not answer")?;
                Ok(answer.map(|body| body.map_err(anyhow::Error::new).boxed_unsync()))
            }
        }
    }
}

fn is_forbidden(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 403,
        // What is no upgrade to a web socket is told with the status alone.
        error => error.to_string().contains("403"),
    }
}

/// Name and API port of a pod that is ready.
fn target(pod: &Pod) -> Option<(String, u16)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let is_ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let is_going = pod.metadata.deletion_timestamp.is_some();
    let ports = pod.spec.as_ref()?.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let mut api = ports.filter(|port| port.name.as_deref() == Some("api"));
    let port = u16::try_from(api.next()?.container_port).ok()?;
    (is_ready && !is_going).then(|| Some((pod.metadata.name.clone()?, port)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_is_ready_is_forwarded_to() {
        let pod = |change: serde_json::Value| {
            let mut pod = serde_json::json!({
                "metadata": {"name": "jct-1"},
                "spec": {"containers": [{"name": "operator", "ports": [
                    {"name": "webhook", "containerPort": 9443}, {"name": "api", "containerPort": 8000}]}]},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            });
            for (path, value) in change.as_object().into_iter().flatten() {
                *pod.pointer_mut(path).unwrap() = value.clone();
            }
            target(&serde_json::from_value(pod).unwrap())
        };
        assert_eq!(pod(serde_json::json!({})), Some(("jct-1".into(), 8000)));
        assert_eq!(pod(serde_json::json!({"/status/conditions/0/status": "False"})), None);
        let going = serde_json::json!({"name": "jct-1", "deletionTimestamp": "2026-03-01T12:00:00Z"});
        assert_eq!(pod(serde_json::json!({"/metadata": going})), None);
    }
}
