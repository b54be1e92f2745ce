//! The server over real loopback sockets, asked as a careless script, a stranger's web page and a hostile client would.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use manyhands_api::{Problem, ProblemKind};
use manyhands_core::Priority;
use manyhands_proto::limits::{PROGRAM_BYTES_MAX, STREAMED_INPUT_BYTES_MAX};
use support::{JOB, reference, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn every_answer_says_that_it_comes_from_a_gateway() {
    let served = start().await;
    for path in ["/v1/health", "/v1/status", "/nowhere"] {
        let answer = served.raw(&format!("GET {path} HTTP/1.1\r\nHost: HOST"), b"").await;
        assert!(answer.contains("x-manyhands-api: 1"), "{answer}");
        assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
    }
}

#[tokio::test]
async fn wrong_questions_are_explained_in_json() {
    let served = start().await;
    let cases: [(&str, &[u8], u16, ProblemKind, &str); 9] = [
        ("GET /v2/jobs HTTP/1.1\r\nHost: HOST", b"", 404, ProblemKind::NotFound, "/v1/jobs"),
        ("GET /v1/programs HTTP/1.1\r\nHost: HOST", b"", 405, ProblemKind::NotAllowed, "PUT"),
        ("GET /v1/jobs/xyz/explain HTTP/1.1\r\nHost: HOST", b"", 400, ProblemKind::Invalid, "32 hexadecimal digits"),
        (
            "GET /v1/jobs/00000000000000000000000000000000/explain HTTP/1.1\r\nHost: HOST",
            b"",
            404,
            ProblemKind::NotFound,
            "no job",
        ),
        ("DELETE /v1/jobs/xyz/explain HTTP/1.1\r\nHost: HOST", b"", 405, ProblemKind::NotAllowed, "GET"),
        ("GET /v1/jobs/xyz HTTP/1.1\r\nHost: HOST", b"", 400, ProblemKind::Invalid, "32 hexadecimal digits"),
        (
            "GET /v1/jobs/00000000000000000000000000000000 HTTP/1.1\r\nHost: HOST",
            b"",
            404,
            ProblemKind::NotFound,
            "no job",
        ),
        ("POST /v1/jobs HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5", b"{ooo}", 400, ProblemKind::Invalid, "JSON"),
        (
            "POST /v1/jobs HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2",
            b"{}",
            400,
            ProblemKind::Invalid,
            "missing field",
        ),
    ];
    for (head, body, status, kind, words) in cases {
        let (got, problem) = served.problem(head, body).await;
        assert_eq!((got, problem.kind), (status, kind), "{head}: {problem}");
        assert!(problem.message.contains(words), "{head}: {problem}");
    }
}

#[tokio::test]
async fn a_po2_out_of_range_names_the_range() {
    let served = start().await;
    let program = format!("{{\"reference\":\"{}\",\"size_bytes\":1}}", "00".repeat(32));
    let body =
        format!("{{\"program\":{program},\"input\":null,\"po2\":13,\"outcome\":\"composite\",\"cycles_max\":null}}");
    let head = format!("POST /v1/jobs HTTP/1.1\r\nHost: HOST\r\nContent-Length: {}", body.len());
    let (status, problem) = served.problem(&head, body.as_bytes()).await;
    assert_eq!(status, 400);
    assert!(problem.message.contains("14 to 24"), "{problem}");
}

#[tokio::test]
async fn the_gateways_own_refusal_keeps_its_status() {
    let served = start().await;
    let body = format!(
        "{{\"program\":{{\"reference\":\"{}\",\"size_bytes\":1}},\"outcome\":\"succinct\",\"input\":null,\"po2\":null,\"cycles_max\":null}}",
        "00".repeat(32)
    );
    let head = format!("POST /v1/jobs HTTP/1.1\r\nHost: HOST\r\nContent-Length: {}", body.len());
    for (kind, status) in [(ProblemKind::Unfit, 409), (ProblemKind::NoSpace, 507), (ProblemKind::Internal, 500)] {
        *served.fake.refusal.lock().unwrap() = Some(Problem::new(kind, "no, because"));
        assert_eq!(served.problem(&head, body.as_bytes()).await, (status, Problem::new(kind, "no, because")));
    }
}

#[tokio::test]
async fn an_explanation_is_json_with_each_reason_by_its_name() {
    let served = start().await;
    let answer = served.raw(&format!("GET /v1/jobs/{JOB}/explain HTTP/1.1\r\nHost: HOST"), b"").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for part in [
        r#""reason":{"is":"taken","busy":2,"barred":0,"silent":1,"free_in_ms":null},"why":"no able node waits","able":3"#,
        r#""reason":{"is":"no_node"}"#,
        r#""pace":"in_time","copy":true}],"leases_total":41"#,
    ] {
        assert!(answer.contains(part), "{part} is not in {answer}");
    }
}

/// A submission with one more field, or none: its head and its body.
fn submission(field: &str) -> (String, String) {
    let program = format!("{{\"reference\":\"{}\",\"size_bytes\":1}}", "00".repeat(32));
    let body = format!("{{\"program\":{program},\"outcome\":\"composite\"{field}}}");
    (format!("POST /v1/jobs HTTP/1.1\r\nHost: HOST\r\nContent-Length: {}", body.len()), body)
}

#[tokio::test]
async fn a_request_that_names_no_priority_has_the_usual_one() {
    let served = start().await;
    for (field, priority) in [("", Priority::Normal), (",\"priority\":\"low\"", Priority::Low)] {
        let (head, body) = submission(field);
        let answer = served.raw(&head, body.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        let request = served.fake.jobs.lock().unwrap().pop().unwrap();
        assert_eq!(request.priority, priority);
        let sent = serde_json::to_string(&request).unwrap();
        assert_eq!(sent.contains("priority"), !field.is_empty(), "an older gateway knows no such field: {sent}");
    }
}

#[tokio::test]
async fn an_unknown_priority_is_refused_with_those_there_are() {
    let served = start().await;
    for value in ["\"urgent\"", "\"High\"", "16", "null", "{\"high\":99}"] {
        let (head, body) = submission(&format!(",\"priority\":{value}"));
        let (status, problem) = served.problem(&head, body.as_bytes()).await;
        assert_eq!((status, problem.kind), (400, ProblemKind::Invalid), "{value}: {problem}");
        if value.starts_with('"') {
            assert!(problem.message.contains("`low`, `normal`, `high`"), "{problem}");
        }
    }
    assert!(served.fake.jobs.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_stated_too_large_is_refused_before_it_comes() {
    let served = start().await;
    let most = [("programs", PROGRAM_BYTES_MAX, "64 MiB"), ("inputs", STREAMED_INPUT_BYTES_MAX, "4294 MB")];
    for (path, limit_bytes, said) in most {
        let head = format!("PUT /v1/{path} HTTP/1.1\r\nHost: HOST\r\nContent-Length: {}", limit_bytes + 1);
        let (status, problem) = served.problem(&head, b"first bytes").await;
        assert_eq!((status, problem.kind), (413, ProblemKind::TooLarge));
        assert!(problem.message.contains(said), "{problem}");
    }
    assert!(served.fake.uploads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_that_only_turns_out_too_large_is_refused_too() {
    let served = start().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let head = format!("PUT /v1/programs HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", served.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![7; 1 << 20];
    for _ in 0..=PROGRAM_BYTES_MAX >> 20 {
        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.unwrap();
        stream.write_all(&piece).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert!(served.fake.uploads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_broken_upload_leaves_nothing() {
    let served = start().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let head = format!("PUT /v1/inputs HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\nhalf", served.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    // The next request is answered after the broken one was seen, or beside it: either way nothing was kept.
    served.raw("GET /v1/health HTTP/1.1\r\nHost: HOST", b"").await;
    assert!(served.fake.uploads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_page_of_a_stranger_is_turned_away() {
    let served = start().await;
    let rebound = "GET /v1/status HTTP/1.1\r\nHost: evil.example:7171";
    assert_eq!(served.problem(rebound, b"").await.0, 403);
    let cross = format!("DELETE /v1/jobs/{JOB} HTTP/1.1\r\nHost: HOST\r\nOrigin: http://evil.example");
    let (status, problem) = served.problem(&cross, b"").await;
    assert_eq!((status, problem.kind), (403, ProblemKind::Forbidden));
    assert!(served.fake.aborted.lock().unwrap().is_empty());
    let same = format!("DELETE /v1/jobs/{JOB} HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST");
    assert!(served.raw(&same, b"").await.starts_with("HTTP/1.1 204"));
    assert_eq!(*served.fake.aborted.lock().unwrap(), [JOB]);
}

#[tokio::test]
async fn a_receipt_is_named_by_its_reference() {
    let served = start().await;
    served.fake.receipts.lock().unwrap().insert(JOB, b"receipt".to_vec());
    let head = format!("GET /v1/jobs/{JOB}/receipt HTTP/1.1\r\nHost: HOST");
    let answer = served.raw(&head, b"").await;
    let tag = format!("\"{}\"", reference(b"receipt").reference);
    assert!(answer.contains(&format!("etag: {tag}")) && answer.contains("application/octet-stream"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nreceipt"), "{answer}");
    let again = served.raw(&format!("{head}\r\nIf-None-Match: {tag}"), b"").await;
    assert!(again.starts_with("HTTP/1.1 304"), "{again}");
}

#[tokio::test]
async fn what_a_guest_wrote_is_text() {
    let served = start().await;
    let answer = served.raw(&format!("GET /v1/jobs/{JOB}/log HTTP/1.1\r\nHost: HOST"), b"").await;
    assert!(answer.contains("content-type: text/plain"), "{answer}");
}

/// A connection that watches the job, and its answer's head with the first event.
async fn watcher(served: &support::Served) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let head = format!("GET /v1/jobs/{JOB}/events HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", served.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut said, mut buffer) = (String::new(), [0; 4096]);
    while !said.contains("event: ") && !said.contains("\"kind\"") {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "it ended: {said}");
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    (stream, said)
}

#[tokio::test]
async fn a_job_that_is_watched_is_told_of_until_its_end() {
    let served = start().await;
    let (mut stream, said) = watcher(&served).await;
    assert!(said.contains("content-type: text/event-stream") && said.contains("event: status\ndata: {"), "{said}");
    manyhands_api::Gateway::abort(&*served.fake, JOB).await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    let (_, data) = rest.split_once("event: end\ndata: ").unwrap();
    let status: manyhands_api::JobStatus = serde_json::from_str(data.lines().next().unwrap()).unwrap();
    assert_eq!((status.view.phase.as_str(), status.view.error.is_some()), ("failed", true));
    assert!(!rest.contains("event: status"), "nothing else had changed: {rest}");
}

#[tokio::test]
async fn watchers_leave_connections_to_others() {
    let served = start().await;
    let mut watchers = Vec::new();
    let refused = loop {
        let (stream, said) = watcher(&served).await;
        if !said.starts_with("HTTP/1.1 200") {
            break said;
        }
        watchers.push(stream);
    };
    assert!(
        watchers.len() == 32 && refused.starts_with("HTTP/1.1 503") && refused.contains("now and then"),
        "{refused}"
    );
    assert!(served.raw("GET /v1/health HTTP/1.1\r\nHost: HOST", b"").await.starts_with("HTTP/1.1 200"));
    let unknown = served.problem("GET /v1/jobs/00000000000000000000000000000000/events HTTP/1.1\r\nHost: HOST", b"");
    assert_eq!(unknown.await.0, 404);
}

/// What is beside `/v1` has passwords of its own; `/v1` has none, and is not there by the public name.
#[tokio::test]
async fn the_public_name_leads_to_what_has_passwords_only() {
    let beside = Router::new().route("/version", get(async || "here"));
    let served = support::start_beside(beside, Some("prove.example")).await;
    for (path, host, status) in [
        ("/version", "prove.example", 200),
        ("/version", "evil.example", 403),
        ("/version", "HOST", 200),
        ("/v1/status", "prove.example", 403),
        ("/v1/jobs", "prove.example", 403),
        ("/nowhere", "prove.example", 403),
        ("/v1/status", "HOST", 200),
    ] {
        let answer = served.raw(&format!("GET {path} HTTP/1.1\r\nHost: {host}"), b"").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path} for {host}: {answer}");
        assert!(answer.contains("x-manyhands-api: 1"), "{answer}");
    }
}

/// The whole body is written before the answer is read, as simple clients do: it must not be met by a reset.
#[tokio::test]
async fn who_is_refused_hears_why_whatever_it_sends() {
    let served = start().await;
    let body = vec![7; 20 << 20];
    for (path, status) in [("/v1/jobs", 413), ("/nowhere", 404), ("/v1/status", 405)] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let (address, length) = (served.address, body.len());
        let head = format!("PUT {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
        let head = if path == "/v1/jobs" { head.replace("PUT", "POST") } else { head };
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, format!("HTTP/1.1 {status}").as_bytes(), "{path}");
    }
}

/// Who asks first whether it may send does not, if it may not.
#[tokio::test]
async fn a_body_that_waits_for_leave_is_not_asked_for_to_be_dropped() {
    let served = start().await;
    let head = "PUT /nowhere HTTP/1.1\r\nHost: HOST\r\nExpect: 100-continue\r\nContent-Length: 1000000";
    let answer = served.raw(head, b"").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn shutdown_ends_idle_and_silent_connections() {
    let served = start().await;
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    idle.write_all(format!("GET /v1/health HTTP/1.1\r\nHost: {}\r\n\r\n", served.address).as_bytes()).await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let mut half = TcpStream::connect(served.address).await.unwrap();
    half.write_all(
        format!("PUT /v1/inputs HTTP/1.1\r\nHost: {}\r\nContent-Length: 9\r\n\r\n", served.address).as_bytes(),
    )
    .await
    .unwrap();
    served.stop.send(()).unwrap();
    // A bound for the test run only: without an end the task would never be done.
    tokio::time::timeout(Duration::from_secs(30), served.task).await.unwrap().unwrap().unwrap();
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest).await;
    assert!(TcpStream::connect(served.address).await.is_err(), "the port is free again");
}
