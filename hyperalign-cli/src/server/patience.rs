//! Clients that do not read what they are sent.

use std::{
    future::Future,
    io::{Error, ErrorKind, Result},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

/// How long what is written may wait for the client to read.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that breaks off where nobody reads: an answer would be kept for as long as the
/// client likes.
pub struct Patient {
    stream: TcpStream,
    /// The end of our patience, while something waits to be written.
    end: Pin<Box<Sleep>>,
    waits: bool,
    patience: Duration,
}

impl Patient {
    pub fn new(stream: TcpStream) -> Self {
        Self::with(stream, PATIENCE)
    }

    fn with(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, end: Box::pin(sleep(patience)), waits: false, patience }
    }

    /// What came of writing, and an error where it has waited too long.
    fn judge<T>(&mut self, written: Poll<Result<T>>, context: &mut Context) -> Poll<Result<T>> {
        if written.is_ready() {
            self.waits = false;
            return written;
        }
        if !self.waits {
            self.waits = true;
            self.end.as_mut().reset(Instant::now() + self.patience);
        }
        ready!(self.end.as_mut().poll(context));
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        buffer: &mut ReadBuf,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        slices: &[std::io::IoSlice],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// A write as of a server's.
    async fn write(stream: &mut Patient, bytes: &[u8]) -> Result<usize> {
        std::future::poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await
    }

    #[test]
    fn a_client_that_does_not_read_is_left() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut client = std::net::TcpStream::connect(address).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = Patient::with(stream, Duration::from_millis(100));
            let chunk = vec![7; 1 << 20];
            let error = loop {
                if let Err(error) = write(&mut stream, &chunk).await {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            // Who reads again is written to again.
            let reader = std::thread::spawn(move || {
                let mut read = vec![0; 1 << 20];
                for _ in 0..8 {
                    client.read_exact(&mut read).unwrap();
                }
            });
            for _ in 0..200 {
                if reader.is_finished() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
                let _ = write(&mut stream, &chunk).await;
            }
            reader.join().unwrap();
        });
    }
}
