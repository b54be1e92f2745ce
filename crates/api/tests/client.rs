//! The client against a real door, against nobody, against strangers, and over connections that break.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use manyhands_api::types::NodeRuling;
use manyhands_api::{Client, ClientError, Gateway, JobRequest, ProblemKind};
use manyhands_core::{Outcome, Priority, Verdict};
use manyhands_proto::{BlobRef, JobId, NodeId, Po2, Reference};
use manyhands_vbs::Source;
use support::{BACKUP, JOB, reference, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn every_method_reaches_its_path() {
    let served = start().await;
    let client = Client::new(&served.address.to_string()).unwrap();
    assert_eq!(client.health().await.unwrap().service, "manyhands");
    assert_eq!(client.status().await.unwrap().store_limit_bytes, 2);
    let program = client.upload_program(b"program".to_vec()).await.unwrap();
    assert!(program.image_id.is_some());
    let input = client.upload_input(b"in".to_vec()).await.unwrap();
    assert_eq!((input.blob, input.image_id), (reference(b"in"), None));
    assert_eq!(*served.fake.uploads.lock().unwrap(), [b"program".to_vec(), b"in".to_vec()]);
    let request = JobRequest {
        assumptions: Vec::new(),
        private: None,
        program: program.blob,
        input: Some(input.blob),
        po2: Po2::try_from(16).ok(),
        outcome: Outcome::Succinct,
        cycles_max: Some(9),
        priority: Priority::High,
    };
    let submitted = client.submit(&request).await.unwrap();
    assert_eq!((submitted.job, submitted.po2.get()), (JOB, 16));
    assert_eq!(*served.fake.jobs.lock().unwrap(), [request]);
    assert_eq!(client.job(JOB).await.unwrap().view.waiting.unwrap(), "no node is connected");
    assert_eq!(client.explain(JOB).await.unwrap(), served.fake.explain(JOB).await.unwrap());
    assert_eq!(client.log(JOB).await.unwrap(), b"<b>hello</b>\n");
    client.abort(JOB).await.unwrap();
    assert_eq!(*served.fake.aborted.lock().unwrap(), [JOB]);
}

/// More than the largest that is held in memory, out of nothing: what it takes of memory shows in `crates/e2e`.
#[tokio::test]
async fn an_input_is_streamed_whether_its_size_is_known_or_not() {
    let served = start().await;
    let client = Client::new(&served.address.to_string()).unwrap();
    let bytes: Vec<u8> = (0..1_000_003_u32).map(|number| (number % 251) as u8).collect();
    for size in [Some(bytes.len() as u64), None] {
        let heard = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&heard);
        let on_bytes = move |bytes| {
            told.fetch_add(bytes, Ordering::SeqCst);
        };
        let uploaded = client.upload_input_from(Cursor::new(bytes.clone()), size, on_bytes).await.unwrap();
        assert_eq!((uploaded.blob, uploaded.image_id), (reference(&bytes), None));
        assert_eq!(heard.load(Ordering::SeqCst), bytes.len() as u64);
    }
    assert!(served.fake.uploads.lock().unwrap().iter().all(|upload| *upload == bytes));
    // Of a file that grew meanwhile what was said is taken.
    client.upload_input_from(Cursor::new(bytes.clone()), Some(7), |_| ()).await.unwrap();
    assert_eq!(served.fake.uploads.lock().unwrap().pop().unwrap(), bytes[..7]);
    // One that has become shorter is not what was to be sent.
    let shorter = client.upload_input_from(Cursor::new(vec![1; 5]), Some(6), |_| ()).await.unwrap_err();
    assert!(matches!(&shorter, ClientError::Source { .. }), "{shorter:?}");
    assert!(shorter.to_string().contains("became shorter"), "{shorter}");
    assert_eq!(served.fake.uploads.lock().unwrap().len(), 2, "nothing of it is kept");
    assert_eq!(std::fs::read_dir(served.fake.spool()).unwrap().count(), 0, "no file is left");
}

#[tokio::test]
async fn an_input_without_room_is_refused_before_it_is_sent_and_when_the_room_goes() {
    let served = start().await;
    let client = Client::new(&served.address.to_string()).unwrap();
    *served.fake.room_bytes.lock().unwrap() = Some(99);
    for size in [Some(5 << 30), Some(100)] {
        let refused = client.upload_input_from(tokio::io::repeat(0), size, |_| ()).await.unwrap_err();
        let ClientError::Problem(problem) = refused else { panic!("{refused:?}") };
        let kind = if size == Some(100) { ProblemKind::NoSpace } else { ProblemKind::TooLarge };
        assert_eq!(problem.kind, kind);
    }
    // Of an unknown size, so the gateway looks again only after 64 MiB.
    let refused = client.upload_input_from(tokio::io::repeat(0).take(80 << 20), None, |_| ()).await.unwrap_err();
    let ClientError::Problem(problem) = refused else { panic!("{refused:?}") };
    assert_eq!(problem.kind, ProblemKind::NoSpace);
    assert!(served.fake.uploads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_job_is_watched_to_its_end() {
    let served = start().await;
    let client = Client::new(&served.address.to_string()).unwrap();
    let mut watch = client.watch(JOB).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().view.phase, "open");
    client.abort(JOB).await.unwrap();
    let last = watch.next().await.unwrap().unwrap();
    assert_eq!((last.view.phase.as_str(), last.view.error.as_deref()), ("failed", Some("it was stopped")));
    assert_eq!(watch.next().await.unwrap(), None);
    let error = client.watch(JobId([0; 16])).await.unwrap_err();
    assert!(matches!(&error, ClientError::Problem(problem) if problem.kind == ProblemKind::NotFound), "{error}");
}

/// A gateway that goes away while a job is watched: an error, and no end.
#[tokio::test]
async fn a_watch_that_breaks_is_no_end_of_the_job() {
    let served = start().await;
    let client = Client::new(&served.address.to_string()).unwrap();
    let mut watch = client.watch(JOB).await.unwrap();
    watch.next().await.unwrap().unwrap();
    served.stop.send(()).unwrap();
    let error = watch.next().await.unwrap_err();
    assert!(error.is_unreachable(), "{error:?}");
}

#[tokio::test]
async fn scores_come_with_their_signatures_and_their_receipts() {
    let served = start().await;
    let client = Client::new(&served.address.to_string()).unwrap();
    let known = client.scores().await.unwrap();
    assert_eq!((known.total, known.scores.as_slice()), (1, [support::score(Source::Own)].as_slice()));
    let receipt = known.scores[0].signed.score.receipt;
    assert_eq!(client.score_receipt(receipt).await.unwrap(), support::SCORED);
    let other = BlobRef { reference: Reference([1; 32]), size_bytes: 9 };
    let error = client.score_receipt(other).await.unwrap_err();
    assert!(matches!(&error, ClientError::Problem(problem) if problem.kind == ProblemKind::NotFound), "{error}");
    let smaller = BlobRef { size_bytes: 3, ..receipt };
    assert!(matches!(client.score_receipt(smaller).await, Err(ClientError::TooLarge { .. })));
}

#[tokio::test]
async fn back_ups_are_asked_for_on_the_gateway_s_own_machine_only() {
    let served = start().await;
    let client = Client::new(&served.address.to_string()).unwrap();
    assert_eq!(client.back_up().await.unwrap().name, BACKUP);
    assert_eq!(client.backups().await.unwrap().folder, "/b");
    for method in ["POST", "GET"] {
        let proxied = format!("{method} /v1/backups HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-For: 192.0.2.1");
        let (status, problem) = served.problem(&proxied, b"").await;
        assert_eq!((status, problem.kind), (403, ProblemKind::Forbidden), "{method}");
        assert!(problem.message.contains("its own machine"), "{}", problem.message);
        // A proxy that adds no header, as nginx does without being told to.
        let (status, _) = served.problem(&format!("{method} /v1/backups HTTP/1.0\r\nHost: HOST"), b"").await;
        assert_eq!(status, 403, "{method}");
    }
}

#[tokio::test]
async fn what_the_operator_says_of_a_node_is_heard_from_his_own_machine_only() {
    let served = start().await;
    let client = Client::new(&served.address.to_string()).unwrap();
    let node = NodeId([0xAB; 32]);
    let denied = NodeRuling { verdict: Some(Verdict::Denied), reason: "a lab's".to_owned() };
    client.rule(node, &denied).await.unwrap();
    client.rule(node, &NodeRuling { verdict: None, reason: String::new() }).await.unwrap();
    let long = NodeRuling { reason: "x".repeat(161), ..denied.clone() };
    let lines = NodeRuling { reason: "a\nb".to_owned(), ..denied.clone() };
    for wrong in [long, lines] {
        let error = client.rule(node, &wrong).await.unwrap_err();
        assert!(matches!(&error, ClientError::Problem(problem) if problem.kind == ProblemKind::Invalid), "{error}");
    }
    let body = br#"{"verdict": "denied"}"#;
    let put = format!("PUT /v1/nodes/{node} HTTP/1.1\r\nHost: HOST\r\nContent-Length: 21");
    let (status, problem) = served.problem(&format!("{put}\r\nX-Forwarded-For: 192.0.2.1"), body).await;
    assert_eq!((status, problem.kind), (403, ProblemKind::Forbidden));
    assert!(problem.message.contains("`manyhands nodes` there"), "{}", problem.message);
    let unknown = br#"{"verdict": "banned"}"#;
    assert_eq!(served.problem(&put, unknown).await.0, 400);
    let taken = served.fake.rulings.lock().unwrap().clone();
    assert_eq!(taken.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), [node.to_string(), node.to_string()]);
    assert_eq!((&taken[0].1, taken[1].1.verdict), (&denied, None));
}

#[tokio::test]
async fn a_problem_comes_back_as_itself() {
    let served = start().await;
    let client = Client::new(&served.address.to_string()).unwrap();
    let error = client.job(JobId([0; 16])).await.unwrap_err();
    assert!(matches!(&error, ClientError::Problem(problem) if problem.kind == ProblemKind::NotFound), "{error}");
    let error = client.explain(JobId([0; 16])).await.unwrap_err();
    assert!(matches!(&error, ClientError::Problem(problem) if problem.kind == ProblemKind::NotFound), "{error}");
    let error = client.receipt(JOB, 100).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no receipt yet");
}

#[tokio::test]
async fn a_receipt_larger_than_announced_is_not_taken() {
    let served = start().await;
    served.fake.receipts.lock().unwrap().insert(JOB, vec![1; 1000]);
    let client = Client::new(&served.address.to_string()).unwrap();
    assert_eq!(client.receipt(JOB, 1000).await.unwrap().len(), 1000);
    assert!(matches!(client.receipt(JOB, 999).await, Err(ClientError::TooLarge { limit_bytes: 999, .. })));
}

#[tokio::test]
async fn nobody_there_is_said_with_the_way_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Client::new(&address.to_string()).unwrap().status().await.unwrap_err();
    assert!(error.is_unreachable(), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("refused"), "{text}");
    assert!(error.hint().unwrap().contains("manyhands up"));
}

/// Answers every connection with the same bytes.
async fn stranger(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer).await;
        }
    });
    address
}

#[tokio::test]
async fn a_stranger_on_the_port_is_told_from_a_gateway() {
    let web = stranger(b"HTTP/1.1 200 OK\r\nServer: nginx/9\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").await;
    let error = Client::new(&web).unwrap().status().await.unwrap_err();
    assert!(matches!(&error, ClientError::NotAGateway { what, .. } if what.contains("nginx/9")), "{error}");
    let mail = stranger(b"220 mail.example ESMTP\r\n").await;
    let error = Client::new(&mail).unwrap().status().await.unwrap_err();
    assert!(matches!(&error, ClientError::NotAGateway { what, .. } if what.contains("not speak HTTP")), "{error}");
    assert!(error.hint().unwrap().contains("--gateway"));
}

/// A way to the gateway that breaks the first `breaks` connections after the question was sent.
async fn flaky(to: std::net::SocketAddr, mut breaks: u32) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if breaks > 0 {
                breaks -= 1;
                let mut head = [0; 64];
                let _ = stream.read(&mut head).await;
                continue;
            }
            tokio::spawn(async move {
                let mut onward = TcpStream::connect(to).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut onward).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_dropped_poll_is_asked_again_but_a_submission_is_not() {
    let served = start().await;
    let client = Client::new(&flaky(served.address, 3).await).unwrap();
    assert_eq!(client.job(JOB).await.unwrap().view.job, JOB);
    let client = Client::new(&flaky(served.address, 4).await).unwrap();
    assert!(client.job(JOB).await.unwrap_err().is_unreachable(), "a few times, not for ever");
    let client = Client::new(&flaky(served.address, 1).await).unwrap();
    let request = JobRequest {
        assumptions: Vec::new(),
        private: None,
        program: reference(b"p"),
        input: None,
        po2: None,
        outcome: Outcome::Composite,
        cycles_max: None,
        priority: Priority::Normal,
    };
    assert!(client.submit(&request).await.unwrap_err().is_unreachable());
    assert!(served.fake.jobs.lock().unwrap().is_empty());
}
