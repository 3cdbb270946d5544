//! Who is told: the receivers of Alertmanager, each a path of one listener.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use larder::clock::{Clock, SystemClock};
use serde_json::Value;

/// One alert in one delivery.
#[derive(Debug, Clone)]
pub struct Told {
    /// When, in seconds since the epoch.
    pub at: f64,
    pub receiver: String,
    pub alert: String,
    pub firing: bool,
    pub labels: Value,
    pub annotations: Value,
}

/// Listens until it is dropped.
pub struct Webhook {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Webhook {
    pub fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (told, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (heard, stopped) = (Arc::clone(&told), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // One delivery a connection: the answer asks for its end.
                if let Err(error) = receive(&stream, &heard) {
                    eprintln!("a delivery could not be read: {error}");
                }
            }
        });
        Self { address, told, stop, thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything delivered so far, in its order.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        let _ = self.thread.take().unwrap().join();
    }
}

fn receive(stream: &TcpStream, told: &Mutex<Vec<Told>>) -> std::io::Result<()> {
    let timeout = Some(std::time::Duration::from_secs(5));
    stream.set_read_timeout(timeout)?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        length = header.strip_prefix("content-length:").map_or(length, |value| value.trim().parse().unwrap());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let delivery: Value = serde_json::from_slice(&body)?;
    assert_eq!(delivery["receiver"], path.as_str(), "a receiver has the address of another");
    for alert in delivery["alerts"].as_array().unwrap() {
        told.lock().unwrap().push(Told {
            at: SystemClock.now_ns() as f64 / 1e9,
            receiver: path.clone(),
            alert: alert["labels"]["alertname"].as_str().unwrap().to_owned(),
            firing: alert["status"] == "firing",
            labels: alert["labels"].clone(),
            annotations: alert["annotations"].clone(),
        });
    }
    let mut stream = stream;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}
