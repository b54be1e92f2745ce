//! How control messages lie on a stream: one request and one answer for each stream.
//!
//! A request is its length (four bytes, little-endian) and as many bytes of postcard. An answer is one byte, 0 for an answer and 1
//! for "too busy to answer", and after a 0 a message in the same form. A broken message is handed up as a value rather than as an
//! I/O error, because libp2p tells nobody about the latter on the listening side.

use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::StreamProtocol;
use libp2p::request_response;
use manyhands_proto::codec::Checked;
use manyhands_proto::limits::CONTROL_BYTES_MAX;
use manyhands_proto::message::{Request, Response};
use manyhands_proto::{DecodeError, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

const ANSWERED: u8 = 0;
const BUSY: u8 = 1;

/// What arrived instead of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length in front is over the limit; nothing of the message was read.
    #[error("a message of {got_bytes} bytes is over the limit of {limit_bytes}")]
    TooLong {
        /// The stated length.
        got_bytes: u32,
        /// The protocol's limit.
        limit_bytes: usize,
    },
    /// An answer begins with a byte that means nothing.
    #[error("an answer begins with the unknown status {0}")]
    Status(u8),
    /// The bytes are no message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// An answer on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Response(Response),
    Busy,
}

/// The control protocol's codec.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ControlCodec;

impl request_response::Codec for ControlCodec {
    type Protocol = StreamProtocol;
    type Request = Result<Request, FrameError>;
    type Response = Result<Answer, FrameError>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_message(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut status = [0];
        io.read_exact(&mut status).await?;
        match status {
            [ANSWERED] => Ok(read_message(io).await?.map(Answer::Response)),
            [BUSY] => Ok(Ok(Answer::Busy)),
            [other] => Ok(Err(FrameError::Status(other))),
        }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Self::Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let request = request.map_err(io::Error::other)?;
        io.write_all(&frame(&request)?).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: Self::Response) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match answer.map_err(io::Error::other)? {
            Answer::Busy => io.write_all(&[BUSY]).await,
            Answer::Response(response) => {
                let message = frame(&response)?;
                io.write_all(&[ANSWERED]).await?;
                io.write_all(&message).await
            }
        }
    }
}

/// Whether a message of ours would be accepted by others.
///
/// # Errors
/// The [`DecodeError`] that they would answer with.
pub(crate) fn check_sendable<T: Serialize + Checked>(message: &T) -> Result<(), DecodeError> {
    message.check()?;
    let got_bytes = encode(message).len();
    if got_bytes > CONTROL_BYTES_MAX {
        return Err(DecodeError::TooLong { got_bytes, limit_bytes: CONTROL_BYTES_MAX });
    }
    Ok(())
}

fn frame<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let body = encode(message);
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    Ok([length.to_le_bytes().as_slice(), &body].concat())
}

/// Reads one message. An end of the stream in the middle is an I/O error: connections break, and that is nobody's fault.
async fn read_message<T, R>(io: &mut R) -> io::Result<Result<T, FrameError>>
where
    T: DeserializeOwned + Checked,
    R: AsyncRead + Unpin + Send,
{
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let got_bytes = u32::from_le_bytes(length);
    if got_bytes as usize > CONTROL_BYTES_MAX {
        return Ok(Err(FrameError::TooLong { got_bytes, limit_bytes: CONTROL_BYTES_MAX }));
    }
    let mut body = Vec::new();
    // Grows as bytes arrive, so that a stated length alone costs nothing.
    let read = io.take(u64::from(got_bytes)).read_to_end(&mut body).await?;
    if read < got_bytes as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(decode(&body, CONTROL_BYTES_MAX).map_err(FrameError::from))
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;
    use libp2p::request_response::Codec as _;
    use manyhands_proto::message::CONTROL_PROTOCOL;

    use super::*;

    const PROTOCOL: StreamProtocol = StreamProtocol::new(CONTROL_PROTOCOL);

    fn request_from(bytes: &[u8]) -> io::Result<Result<Request, FrameError>> {
        block_on(ControlCodec.read_request(&PROTOCOL, &mut Cursor::new(bytes)))
    }

    fn answer_from(bytes: &[u8]) -> io::Result<Result<Answer, FrameError>> {
        block_on(ControlCodec.read_response(&PROTOCOL, &mut Cursor::new(bytes)))
    }

    fn written(answer: Answer) -> Vec<u8> {
        let mut bytes = Vec::new();
        block_on(ControlCodec.write_response(&PROTOCOL, &mut bytes, Ok(answer))).unwrap();
        bytes
    }

    #[test]
    fn the_answer_frames_are_pinned() {
        // Laid out by hand from the module's description; Wait is the third variant and 300 a two-byte varint.
        assert_eq!(written(Answer::Response(Response::Wait { retry_ms: 300 })), [0, 3, 0, 0, 0, 2, 0xac, 0x02]);
        assert_eq!(written(Answer::Busy), [1]);
    }

    #[test]
    fn answers_round_trip() {
        for answer in [Answer::Busy, Answer::Response(Response::Ok), Answer::Response(Response::Stale)] {
            assert_eq!(answer_from(&written(answer.clone())).unwrap(), Ok(answer));
        }
    }

    #[test]
    fn a_stated_length_over_the_limit_is_refused_before_the_body() {
        let refused = Err(FrameError::TooLong { got_bytes: u32::MAX, limit_bytes: CONTROL_BYTES_MAX });
        assert_eq!(request_from(&[0xff; 4]).unwrap(), refused);
        assert!(answer_from(&[0, 0xff, 0xff, 0xff, 0xff]).unwrap().is_err());
    }

    #[test]
    fn malformed_is_told_from_broken_off() {
        assert_eq!(request_from(&[1, 0, 0, 0, 0xff]).unwrap(), Err(FrameError::Decode(DecodeError::Malformed)));
        assert_eq!(request_from(&[9, 0, 0, 0, 0xff]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(request_from(&[]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(answer_from(&[]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(answer_from(&[7]).unwrap(), Err(FrameError::Status(7)));
    }

    #[test]
    fn our_own_nonsense_is_not_sendable() {
        let refused = Response::Refused { reason: "x".repeat(1000), retry_ms: 1 };
        assert!(check_sendable(&refused).is_err());
        assert_eq!(check_sendable(&Response::Ok), Ok(()));
    }
}
