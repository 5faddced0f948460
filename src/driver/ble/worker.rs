//! The driver's thread: btleplug and libdbus live there, and nothing they do can hold up the engine.

use std::{sync::Arc, thread, time::Duration};

use futures::future::LocalBoxFuture;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    session::{Session, Shared},
    target::{AdapterName, Target},
};
use crate::channel::{
    ble::{Answer, BleLink, Bond, CharacteristicId, Connection, LinkState, Listening, NotificationSink, Service},
    clock::BoxFuture,
    link::{LinkError, Notices},
};

/// Time to open the adapter.
const OPEN: Duration = Duration::from_secs(20);
/// Time to give it back: a link takes two seconds to go down.
const CLOSE: Duration = Duration::from_secs(15);

type Job = Box<dyn FnOnce(&mut Session) -> LocalBoxFuture<'_, ()> + Send>;

/// The engine's end.
pub(super) struct Link {
    identity: String,
    shared: Arc<Shared>,
    jobs: Option<mpsc::UnboundedSender<Job>>,
    /// Resolves when the thread has given the adapter back.
    ended: Option<oneshot::Receiver<()>>,
}

/// Opens the adapter on a thread of its own.
pub(super) async fn start(identity: String, adapter: Option<AdapterName>, target: Target) -> Result<Link, LinkError> {
    let failed = |what: String| LinkError::new(format!("open {identity}"), what);
    let shared = Shared::new();
    #[expect(clippy::disallowed_methods, reason = "one job at a time: who gives one waits for its answer")]
    let (jobs, queue) = mpsc::unbounded_channel();
    let (ready, opened) = oneshot::channel();
    let (over, ended) = oneshot::channel();
    let (own, name) = (Arc::clone(&shared), identity.clone());
    let begun = thread::Builder::new().name("ble".to_owned()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(LinkError::new(format!("open {name}"), error.to_string())))),
        };
        runtime.block_on(async {
            match Session::open(own, &name, adapter.as_ref(), target).await {
                Ok(session) => {
                    // If nobody waits any more, the queue is closed too.
                    let _ = ready.send(Ok(()));
                    serve(session, queue).await;
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
        drop(over);
    });
    begun.map_err(|error| failed(format!("no thread: {error}")))?;
    match timeout(OPEN, opened).await {
        Ok(Ok(Ok(()))) => Ok(Link { identity, shared, jobs: Some(jobs), ended: Some(ended) }),
        Ok(Ok(Err(error))) => Err(error),
        Ok(Err(_)) => Err(failed("its thread has ended; this is a defect of hilbench or a library".to_owned())),
        Err(_) => Err(failed(format!("BlueZ did not answer within {OPEN:?}; `systemctl status bluetooth`"))),
    }
}

async fn serve(mut session: Session, mut queue: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = queue.recv().await {
        job(&mut session).await;
        session.tidy().await;
    }
    let _ = timeout(CLOSE, session.close()).await;
}

impl Link {
    /// Has something done on the thread. Whoever stops waiting has it given up there.
    fn ask<T, F>(&self, operation: &'static str, work: F) -> BoxFuture<'static, Result<T, LinkError>>
    where
        T: Send + 'static,
        F: for<'s> FnOnce(&'s mut Session) -> LocalBoxFuture<'s, Result<T, LinkError>> + Send + 'static,
    {
        let (mut reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |session| {
            Box::pin(async move {
                tokio::select! {
                    biased;
                    result = work(session) => drop(reply.send(result)),
                    () = reply.closed() => {}
                }
            })
        });
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        let ended =
            LinkError { lost: true, ..LinkError::new(format!("{operation} with {}", self.identity), "the channel is closed") };
        Box::pin(async move {
            if !sent {
                return Err(ended);
            }
            answer.await.unwrap_or(Err(ended))
        })
    }
}

impl BleLink for Link {
    fn listen(&mut self, time: Duration, until_heard: bool) -> BoxFuture<'_, Result<Listening, LinkError>> {
        self.ask("listen", move |session| {
            Box::pin(async move { session.listen(time, until_heard).await.map(|(listening, _)| listening) })
        })
    }

    fn connect(&mut self, within: Duration) -> BoxFuture<'_, Result<Connection, LinkError>> {
        self.ask("connect", move |session| Box::pin(session.connect(within)))
    }

    fn disconnect(&mut self) -> BoxFuture<'_, Result<(), LinkError>> {
        self.ask("disconnect", |session| Box::pin(session.disconnect()))
    }

    fn link(&mut self, time: Duration) -> BoxFuture<'_, Result<LinkState, LinkError>> {
        self.ask("watch the link", move |session| Box::pin(async move { session.link(time).await }))
    }

    fn services(&mut self) -> BoxFuture<'_, Result<Answer<Vec<Service>>, LinkError>> {
        self.ask("list the services", |session| Box::pin(async move { session.services().await }))
    }

    fn read(&mut self, from: CharacteristicId) -> BoxFuture<'_, Result<Answer<Vec<u8>>, LinkError>> {
        self.ask("read", move |session| Box::pin(async move { session.read(from).await }))
    }

    fn write(
        &mut self,
        to: CharacteristicId,
        bytes: Vec<u8>,
        with_response: bool,
    ) -> BoxFuture<'_, Result<Answer<()>, LinkError>> {
        self.ask("write", move |session| Box::pin(async move { session.write(to, bytes, with_response).await }))
    }

    fn subscribe(&mut self, to: CharacteristicId) -> BoxFuture<'_, Result<Answer<()>, LinkError>> {
        self.ask("subscribe", move |session| Box::pin(session.subscribe(to)))
    }

    fn bond(&mut self) -> BoxFuture<'_, Result<Bond, LinkError>> {
        self.ask("read the bond", |session| Box::pin(async move { session.bond().await }))
    }

    fn forget(&mut self) -> BoxFuture<'_, Result<(), LinkError>> {
        self.ask("forget the device", |session| Box::pin(session.forget()))
    }

    fn refuse_bonds(&mut self, refuse: bool) -> BoxFuture<'_, Result<(), LinkError>> {
        self.ask("refuse bonds", move |session| Box::pin(session.refuse_bonds(refuse)))
    }

    fn capture(&mut self, sink: NotificationSink) {
        self.shared.capture(sink);
    }

    fn watch(&mut self, notices: Notices) {
        self.shared.watch(notices);
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        // The thread ends when there is nobody left who could have something done.
        self.jobs = None;
        let ended = self.ended.take();
        Box::pin(async move {
            if let Some(ended) = ended {
                let _ = timeout(CLOSE + Duration::from_secs(1), ended).await;
            }
        })
    }
}
