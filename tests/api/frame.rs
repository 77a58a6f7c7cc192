use std::time::Duration;

use axum::body::{Body, Bytes};
use rstest::rstest;
use serde_json::json;

use crate::cluster::Controller;
use crate::world::{ADA, CI, World, request, task};

#[tokio::test]
async fn a_request_keeps_its_ids_and_gets_those_that_it_lacks() {
    let world = World::new().await;
    let ids = [("x-trace-id", "my-trace-1"), ("x-request-id", "my-request-1")];
    let sent =
        ids.iter().fold(request("GET", ADA, "/tasks?namespace=team"), |request, (name, id)| request.header(*name, *id));
    let answer = world.send(sent.body(Body::empty()).unwrap()).await;
    for (name, id) in ids {
        assert_eq!(answer.header(name), id);
    }
    let bad = request("GET", "", "/nothing").header("x-trace-id", "a b").header("x-request-id", "../x");
    let answer = world.send(bad.body(Body::empty()).unwrap()).await;
    assert_eq!((answer.header("x-trace-id").len(), answer.header("x-request-id").len()), (32, 32));
    assert!(answer.header("traceparent").starts_with(&format!("00-{}-", answer.header("x-trace-id"))));
}

#[tokio::test]
async fn a_task_takes_the_trace_id_of_its_request() {
    let world = World::new().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    for (headers, expected) in [
        (vec![("x-trace-id", "my-trace-1"), ("traceparent", parent.as_str())], "my-trace-1"),
        (vec![("traceparent", parent.as_str())], trace),
        (vec![("x-trace-id", "bad trace"), ("traceparent", parent.as_str())], trace),
    ] {
        let sent = headers
            .iter()
            .fold(request("POST", ADA, "/tasks/enqueue"), |request, (name, id)| request.header(*name, *id));
        let answer = world.send(sent.body(Body::from(task(json!({})).to_string())).unwrap()).await;
        assert_eq!((answer.status, &answer.body["trace_id"]), (201, &json!(expected)));
        assert_eq!(answer.header("x-trace-id"), expected);
        assert_eq!(answer.body["task"]["trace_id"], expected);
    }
}

#[rstest]
#[case(b"".to_vec(), 422, "body: must be JSON: EOF")]
#[case(b"{\"objective\": ".to_vec(), 422, "body: must be JSON: EOF")]
#[case(b"{\"objective\": \"\xff\xfe\"}".to_vec(), 422, "body: must be UTF-8")]
#[case("[".repeat(10_000).into_bytes(), 422, "body: must be JSON: recursion limit")]
#[case("{\"inputs\":".repeat(10_000).into_bytes(), 422, "body: must be JSON: recursion limit")]
#[case(format!("{}{}", "[".repeat(120), "]".repeat(120)).into_bytes(), 422, "body: must not be nested deeper")]
#[case(b"null".to_vec(), 422, "body: must be an object")]
#[case(b"[]".to_vec(), 422, "body: must be an object")]
#[case(b"7".to_vec(), 422, "body: must be an object")]
#[case(vec![b' '; 2 << 20], 413, "the body is larger")]
#[tokio::test]
async fn a_bad_body_is_told_in_our_form(#[case] body: Vec<u8>, #[case] status: u16, #[case] message: &str) {
    let world = World::new().await;
    let answer = world.send(request("POST", ADA, "/tasks/enqueue").body(Body::from(body)).unwrap()).await;
    assert_eq!(answer.status, status, "{}", answer.text);
    let reported = answer.body["detail"]["message"].as_str().unwrap();
    assert!(reported.starts_with(message), "{reported}");
}

#[tokio::test]
async fn other_kinds_of_body_are_refused() {
    let world = World::new().await;
    for (content_type, status) in
        [("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("application/json;charset=utf-8", 201)]
    {
        let sent = request("POST", ADA, "/tasks/enqueue").header("content-type", content_type);
        let answer = world.send(sent.body(Body::from(task(json!({})).to_string())).unwrap()).await;
        assert_eq!(answer.status, status, "{content_type}");
    }
}

#[tokio::test]
async fn what_the_framework_refuses_has_our_form_too() {
    let world = World::new().await;
    let nothing = world.get("", "/no/such/path").await;
    assert_eq!(nothing.status, 404);
    assert!(nothing.body["detail"].is_string());
    let method = world.send(request("DELETE", ADA, "/tasks").body(Body::empty()).unwrap()).await;
    assert_eq!((method.status, &method.body), (405, &json!({"detail": "Method Not Allowed"})));
    assert!(method.header("allow").contains("GET"));
    let public = world.send(request("POST", "", "/version").body(Body::empty()).unwrap()).await;
    assert_eq!((public.status, &public.body), (405, &json!({"detail": "Method Not Allowed"})));
    for path in ["/tasks/%ff%fe", "/trace/%ff%fe%fd%fc%fb%fa%f9%f8"] {
        let answer = world.get(ADA, path).await;
        assert!([400, 404].contains(&answer.status) && answer.body["detail"].is_string(), "{path} {}", answer.text);
    }
    assert_eq!(world.get(ADA, "/tasks?namespace=team&target_repo=%ff%fe").await.status, 422);
}

#[tokio::test]
async fn a_slow_request_is_ended() {
    let world = World::with(|settings| settings.timeout = Duration::from_millis(200)).await;
    let endless = futures::stream::pending::<Result<Bytes, std::io::Error>>();
    let answer = world.send(request("POST", ADA, "/tasks/enqueue").body(Body::from_stream(endless)).unwrap()).await;
    assert_eq!((answer.status, &answer.body["detail"]["error"]), (504, &json!("timeout")));
}

#[tokio::test]
async fn too_many_requests_are_turned_away_with_a_time_to_come_again() {
    let world = World::with(|settings| {
        settings.max_requests = 4;
        settings.timeout = Duration::from_secs(2);
    })
    .await;
    *world.cluster.controller.lock().unwrap() = Controller::Sleeps;
    let task = task(json!({}));
    let ada = futures::future::join_all((0..4).map(|_| world.post(ADA, "/tasks/enqueue", &task)));
    let later = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let others = futures::future::join_all((0..3).map(|_| world.post(CI, "/tasks/enqueue", &task))).await;
        (others, world.get("", "/healthz").await)
    };
    let (ada, (others, healthz)) = tokio::join!(ada, later);
    let count =
        |answers: &[crate::world::Answer], status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(&ada, 504), count(&ada, 429)), (2, 2), "one caller has half of the places");
    assert_eq!((count(&others, 504), count(&others, 503)), (2, 1), "the others have the rest");
    assert!(ada.iter().chain(&others).all(|answer| answer.status == 504 || answer.header("retry-after") == "1"));
    assert_eq!(healthz.status, 200, "probes are not shed");
    assert_eq!(world.get(ADA, "/tasks?namespace=team").await.status, 200, "places are given back");
}
