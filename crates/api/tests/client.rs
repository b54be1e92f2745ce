//! The client against a real door, against nobody, against strangers, and over connections that break.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use manyhands_api::{Client, ClientError, Gateway, JobRequest, ProblemKind};
use manyhands_core::{Outcome, Priority};
use manyhands_proto::{JobId, Po2};
use support::{JOB, reference, start};
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
