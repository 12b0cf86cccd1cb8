//! Bodies of calls from the network, whose bytes are counted: requests until they are complete, answers until they are read.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Status, body::Body};

use super::{bytes::CallBytes, call::Call};

/// A pending wait for room in the caller's share of bytes.
type Waiting = Option<Pin<Box<dyn Future<Output = ()> + Send>>>;

fn poll_fits(bytes: &Arc<CallBytes>, waiting: &mut Waiting, cx: &mut Context<'_>) -> Poll<()> {
    if waiting.is_none() && bytes.fits() {
        return Poll::Ready(());
    }
    let wait = waiting.get_or_insert_with(|| Box::pin(Arc::clone(bytes).until_fits()));
    ready!(wait.as_mut().poll(cx));
    *waiting = None;
    Poll::Ready(())
}

/// The requests of a call. A message must be complete within a time limit; its bytes count until the next one is polled.
pub(super) struct RequestBody {
    body: Body,
    bytes: Arc<CallBytes>,
    limit: Duration,
    message: MessageFrame,
    counted: u64,
    late: Option<Pin<Box<Sleep>>>,
    waiting: Waiting,
}

impl RequestBody {
    pub(super) fn new(body: Body, bytes: Arc<CallBytes>, limit: Duration) -> Self {
        Self { body, bytes, limit, message: MessageFrame::default(), counted: 0, late: None, waiting: None }
    }

    fn count(&mut self, data: &Bytes) {
        self.counted += data.len() as u64;
        self.bytes.set_requests(self.counted);
        if !self.message.pass(data) {
            self.late = None;
        } else if self.late.is_none() {
            self.late = Some(Box::pin(sleep(self.limit)));
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.counted > 0 && this.late.is_none() {
            // Whoever polls for more has processed the complete message.
            this.counted = 0;
            this.bytes.set_requests(0);
        }
        if let Some(late) = &mut this.late
            && late.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err(Status::deadline_exceeded("the request took too long to arrive"))));
        }
        ready!(poll_fits(&this.bytes, &mut this.waiting, cx));
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.count(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.bytes.set_requests(0);
    }
}

/// Finds the ends of messages, each of which follows a byte of flags and four of length (gRPC over HTTP/2,
/// Length-Prefixed-Message).
#[derive(Debug, Default)]
struct MessageFrame {
    /// Bytes of the prefix that have come.
    prefix: usize,
    length: u32,
    /// Bytes of the message that have come, once the prefix is whole.
    came: u32,
}

impl MessageFrame {
    const PREFIX: usize = 5;

    /// Skips `data`; returns true if a message has begun and is not complete.
    fn pass(&mut self, mut data: &[u8]) -> bool {
        while let Some((&byte, rest)) = data.split_first() {
            if self.prefix < Self::PREFIX {
                if self.prefix > 0 {
                    self.length = self.length << 8 | u32::from(byte);
                }
                self.prefix += 1;
                data = rest;
            } else {
                let part = data.len().min((self.length - self.came) as usize);
                self.came += part as u32;
                data = &data[part..];
            }
            if self.prefix == Self::PREFIX && self.came == self.length {
                *self = Self::default();
            }
        }
        self.prefix > 0
    }
}

/// The answers of a call. They end with RESOURCE_EXHAUSTED when the call is evicted.
pub(super) struct AnswerBody {
    body: Body,
    call: Arc<Call>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    waiting: Waiting,
    over: bool,
}

impl AnswerBody {
    pub(super) fn new(body: Body, call: Arc<Call>) -> Self {
        let ended = Box::pin(call.end().clone().cancelled_owned());
        Self { body, call, ended, waiting: None, over: false }
    }
}

impl HttpBody for AnswerBody {
    type Data = CountedBytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<CountedBytes>, Status>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if this.ended.as_mut().poll(cx).is_ready() {
            this.over = true;
            let trailers = this.call.why_ended().into_http::<Body>().into_parts().0.headers;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let bytes = this.call.bytes();
        ready!(poll_fits(bytes, &mut this.waiting, cx));
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|data| CountedBytes::new(data, bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A part of an answer, whose bytes count until the network has taken them or the part is dropped.
#[derive(Debug)]
pub(super) struct CountedBytes {
    data: Bytes,
    bytes: Arc<CallBytes>,
}

impl CountedBytes {
    fn new(data: Bytes, bytes: &Arc<CallBytes>) -> Self {
        bytes.add_answers(data.len() as u64);
        Self { data, bytes: Arc::clone(bytes) }
    }
}

impl Buf for CountedBytes {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
        if count > 0 {
            self.bytes.take_answers(count as u64);
        }
    }
}

impl Drop for CountedBytes {
    fn drop(&mut self) {
        if !self.data.is_empty() {
            self.bytes.take_answers(self.data.len() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_followed_through_any_cut() {
        let stream = [&[0, 0, 0, 0, 3, 1, 2, 3][..], &[0, 0, 0, 0, 0], &[1, 0, 0, 1, 0], &[7; 256]].concat();
        let whole: Vec<usize> = vec![8, 13, 274];
        for size in 1..stream.len() {
            let (mut frame, mut at) = (MessageFrame::default(), 0);
            for part in stream.chunks(size) {
                at += part.len();
                assert_eq!(frame.pass(part), !whole.contains(&at), "{size} {at}");
            }
        }
    }
}
