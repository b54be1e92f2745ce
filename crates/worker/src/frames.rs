//! Frames: a little-endian `u32` length and that many bytes.

use std::io::{self, Read, Write};

use manyhands_proto::limits::WORKER_FRAME_BYTES_MAX;

/// Reads one frame; nothing at the end of the stream. Memory is taken as bytes arrive, whatever length is stated.
///
/// # Errors
/// `InvalidData` when the stated length is over the limit, `UnexpectedEof` when the stream ends inside a frame.
pub fn read(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    let read = read_fully(stream, &mut length)?;
    if read == 0 {
        return Ok(None);
    }
    if read < length.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let length_bytes = u32::from_le_bytes(length);
    if u64::from(length_bytes) > WORKER_FRAME_BYTES_MAX as u64 {
        let why = format!("a frame of {length_bytes} bytes is over the limit of {WORKER_FRAME_BYTES_MAX}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let mut frame = Vec::new();
    stream.take(length_bytes.into()).read_to_end(&mut frame)?;
    if frame.len() as u64 == u64::from(length_bytes) {
        Ok(Some(frame))
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Writes one frame.
///
/// # Errors
/// `InvalidData` when it is over the limit, or what the stream says.
pub fn write(stream: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).ok().filter(|length| *length as usize <= WORKER_FRAME_BYTES_MAX);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a report is over the limit of a frame"))?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(frame)?;
    stream.flush()
}

/// Reads until the buffer is full or the stream ends; says how much it got.
fn read_fully(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_in_order() {
        let mut bytes = Vec::new();
        write(&mut bytes, b"first").unwrap();
        write(&mut bytes, b"").unwrap();
        let mut stream = bytes.as_slice();
        assert_eq!(read(&mut stream).unwrap().unwrap(), b"first");
        assert_eq!(read(&mut stream).unwrap().unwrap(), b"");
        assert!(read(&mut stream).unwrap().is_none());
    }

    #[test]
    fn a_lying_length_is_an_error_and_costs_nothing() {
        let mut short = &[0xff, 0xff, 0xff, 0x00, 1, 2, 3][..];
        assert_eq!(read(&mut short).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let mut huge = &[0xff; 8][..];
        assert_eq!(read(&mut huge).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut cut = &[1, 0][..];
        assert_eq!(read(&mut cut).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
