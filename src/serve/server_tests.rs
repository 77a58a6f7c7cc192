use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::*;

const LIMITS: Limits = Limits {
    connections: 8,
    connections_of_one: 4,
    handshake: Duration::from_millis(300),
    head: Duration::from_millis(300),
    idle: Duration::from_millis(600),
    grace: Duration::from_millis(300),
};

struct Port {
    address: SocketAddr,
    shutdown: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

async fn open(limits: Limits) -> Port {
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route(
            "/lasting",
            get(|axum::Extension(busy): axum::Extension<KeepBusy>| async move { lasting(Some(busy.begin())) }),
        )
        .route("/unwatched", get(|| async { lasting(None) }))
        .route("/slow", get(|| async { sleep(Duration::from_secs(1)).await }))
        .route("/body", post(|body: axum::body::Bytes| async move { body.len().to_string() }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve_on(listener, None, router, limits, shutdown.clone()));
    Port { address, shutdown, server }
}

/// A body that takes longer than a connection may be idle, and the time to end it.
fn lasting(busy: Option<crate::serve::InFlight>) -> axum::body::Body {
    let pieces = futures::stream::unfold((0, busy), |(count, busy)| async move {
        sleep(Duration::from_millis(250)).await;
        (count < 8).then(|| (Ok::<_, std::io::Error>("piece"), (count + 1, busy)))
    });
    axum::body::Body::from_stream(pieces)
}

impl Port {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What is answered to `text`, until the connection is closed.
    async fn answer(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        // It may be closed before all is sent.
        let _ = stream.write_all(text.as_bytes()).await;
        rest(&mut stream).await
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const ASK: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn connections_that_send_nothing_or_little_are_closed_and_others_answered_meanwhile() {
    let port = open(LIMITS).await;
    let began = Instant::now();
    let mut silent = Vec::new();
    for beginning in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\nx-a: b", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = port.connect().await;
        stream.write_all(beginning.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    assert!(port.answer(ASK).await.ends_with("hello"), "there is no place beside them");
    for mut stream in silent {
        rest(&mut stream).await;
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let port = open(LIMITS).await;
    let mut stream = port.connect().await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let began = Instant::now();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"), "longer than it may be idle");
    let took = began.elapsed();
    assert!((Duration::from_millis(1200)..Duration::from_secs(5)).contains(&took), "{took:?}");
}

/// As API servers keep theirs: closed under it, a request of theirs would be lost, and a Task refused.
#[tokio::test]
async fn a_connection_that_was_used_may_be_idle_for_longer_than_a_first_head_may_take() {
    let limits = Limits { head: Duration::from_millis(50), idle: Duration::from_secs(60), ..LIMITS };
    let port = open(limits).await;
    let mut stream = port.connect().await;
    let mut answer = [0; 512];
    for _ in 0..2 {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].ends_with(b"hello"), "{}", String::from_utf8_lossy(&answer[..read]));
        sleep(Duration::from_millis(400)).await;
    }
}

#[tokio::test]
async fn an_answer_that_lasts_is_sent_whole_where_its_handler_says_so() {
    let port = open(LIMITS).await;
    let pieces = async |path: &str| {
        port.answer(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await.matches("piece").count()
    };
    let (lasting, unwatched) = tokio::join!(pieces("/lasting"), pieces("/unwatched"));
    assert_eq!(lasting, 8);
    assert!(unwatched < 8, "the control: {unwatched}");
}

#[tokio::test]
async fn a_crowd_from_one_place_has_its_share() {
    let port = open(Limits { head: Duration::from_secs(60), ..LIMITS }).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(port.connect().await);
    }
    assert!(port.answer(ASK).await.ends_with("hello"));
    let mut closed = 0;
    for stream in &mut crowd[..96] {
        closed += usize::from(timeout(Duration::from_secs(1), stream.read_u8()).await.is_ok());
    }
    assert_eq!(closed, 96, "those that were there first have gone");
}

#[tokio::test]
async fn heads_are_bounded() {
    let port = open(LIMITS).await;
    let long = "a".repeat(200_000);
    let uri = port.answer(&format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    assert!(uri.is_empty() || uri.contains("414") || uri.contains("431"), "{uri:.100}");
    let header = port.answer(&format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n")).await;
    assert!(header.is_empty() || header.contains("431"), "{header:.100}");
    let many = "a: b\r\n".repeat(5000);
    let many = port.answer(&format!("GET / HTTP/1.1\r\n{many}\r\n")).await;
    assert!(many.is_empty() || many.contains("431"), "{many:.100}");
    let trailers = format!("{ASK_CHUNKED}1\r\na\r\n0\r\n{}\r\n", "t: v\r\n".repeat(20_000));
    let trailers = port.answer(&trailers).await;
    assert!(!trailers.contains("200 OK"), "{trailers:.100}");
    let extension = format!("{ASK_CHUNKED}1;{}\r\na\r\n0\r\n\r\n", "x=y;".repeat(20_000));
    let extension = port.answer(&extension).await;
    assert!(!extension.contains("200 OK"), "{extension:.100}");
    assert!(port.answer(&format!("{ASK_CHUNKED}1\r\na\r\n0\r\n\r\n")).await.ends_with('1'), "a small one is fine");
}

const ASK_CHUNKED: &str = "POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn requests_in_a_row_on_one_connection_are_answered_one_after_the_other() {
    let port = open(LIMITS).await;
    let row = format!("{}{ASK}", ASK.replace("close", "keep-alive").repeat(1000));
    assert_eq!(port.answer(&row).await.matches("hello").count(), 1001);
}

#[tokio::test]
async fn a_shutdown_lets_requests_end_and_waits_for_no_idle_connection() {
    let port = open(Limits { grace: Duration::from_secs(5), idle: Duration::from_secs(60), ..LIMITS }).await;
    let _idle = port.connect().await;
    let slow = async { port.answer("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await };
    let stop = async {
        sleep(Duration::from_millis(200)).await;
        port.shutdown.cancel();
    };
    let (answer, ()) = tokio::join!(slow, stop);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    timeout(Duration::from_secs(2), port.server).await.unwrap().unwrap();
}
