//! Ctrl-C and its relatives.

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Done when the user or the system asks the process to end.
pub async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        // Without handlers the signals keep their own effect, which is to end the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// Does `work`, unless the user ends it first: then all that it holds, a draft of a file or a picture on the terminal, goes with it, and
/// `stopped` says what that means.
pub async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T, Failure>>,
    stopped: impl FnOnce() -> Failure,
) -> Result<T, Failure> {
    tokio::select! {
        // The work first: what it reads before it waits for anything may block, and a signal ends that by itself.
        biased;
        result = work => result,
        () = interrupted() => Err(stopped()),
    }
}

/// Done when standard input ends: the parent holds the other end and is gone, or wants this process to end.
pub async fn parent_gone() {
    let (tell, told) = tokio::sync::oneshot::channel();
    // A thread of its own: the runtime's would keep it from ending.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = tell.send(());
    });
    let _ = told.await;
}
