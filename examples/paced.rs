//! Sends requests at random moments, so many a second, whoever is slow, and tells how long the answers
//! took. The moments are of a Poisson process on each kept connection, as of many callers who know
//! nothing of one another; one that comes while its connection is waiting is sent after the answer, and
//! that it waited counts.
//!
//! For the scripts in `benches/`: `wrk` can pause for whole milliseconds only, so that what it sends comes
//! in bursts, and an answer's time is mostly that of the burst before it.
//!
//! ```text
//! cargo run --release --example fixed -- 127.0.0.1:9000 &
//! cargo run --release --example paced -- 127.0.0.1:9000 / 5000 64 1 10 'Accept: text/plain'
//! ```
//!
//! Prints the 50th and the 99th percentile of the answers' times in microseconds, how many requests
//! were answered, how many of these with another status than 200, how many a second came, and the 99th
//! percentile of them all. The time may be cut into equal parts, here ten: then the first two are the
//! medians of the parts' percentiles, so that a moment in which the machine stands still spoils one
//! part, and the first part, in which the connections begin, does not count. What stands still more
//! often than in every second part shows there too; what does so less often shows in the last figure.

#![expect(clippy::disallowed_methods, reason = "this program owns its clock")]

use std::{
    env,
    error::Error,
    hash::{BuildHasher as _, RandomState},
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// Who has not answered by then never will.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all connections have in common.
struct Load {
    address: SocketAddr,
    request: String,
    /// Mean time between two requests of one connection.
    gap: Duration,
    start: Instant,
    length: Duration,
}

/// What one of them has seen.
#[derive(Default)]
struct Seen {
    answers: Vec<Answer>,
    failed: usize,
}

#[derive(Clone, Copy)]
struct Answer {
    /// When its request was sent, or should have been if its connection had not been waiting.
    due: Instant,
    took: Duration,
}

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("paced: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [
        address,
        path,
        rate,
        connections,
        seconds,
        parts,
        fields @ ..,
    ] = arguments
    else {
        return Err(
            "usage: paced ADDRESS:PORT PATH RATE CONNECTIONS SECONDS PARTS [FIELD]...".into(),
        );
    };
    let (connections, parts) = (connections.parse::<u32>()?, parts.parse::<u32>()?.max(1));
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let load = Load {
        address: address.parse()?,
        request: format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n"),
        gap: Duration::try_from_secs_f64(f64::from(connections) / rate.parse::<f64>()?)?,
        start: Instant::now(),
        length: Duration::try_from_secs_f64(seconds.parse()?)?,
    };
    if load.gap.is_zero() {
        return Err("RATE: more than a connection can be asked for".into());
    }
    let seen: Vec<io::Result<Seen>> = thread::scope(|scope| {
        let connections: Vec<_> = (0..connections)
            .map(|_| scope.spawn(|| connection(&load)))
            .collect();
        let joined = connections.into_iter().map(|connection| connection.join());
        let died = |_| Err(io::Error::other("a connection's thread has died"));
        joined.map(|seen| seen.unwrap_or_else(died)).collect()
    });
    let took = load.start.elapsed();
    let (mut answers, mut failed) = (Vec::new(), 0);
    for seen in seen {
        let seen = seen?;
        answers.extend(seen.answers);
        failed += seen.failed;
    }
    let mut by_part = vec![Vec::new(); parts as usize];
    for answer in &answers {
        let part = (answer.due - load.start).div_duration_f64(load.length / parts);
        by_part[(part as usize).min(parts as usize - 1)].push(answer.took);
    }
    let counted = &mut by_part[usize::from(parts > 1)..];
    let mut of_parts = |percent| median(counted.iter_mut().filter_map(|of| at(of, percent)));
    let (Some(half), Some(most)) = (of_parts(50), of_parts(99)) else {
        return Err("no request was sent".into());
    };
    let mut all: Vec<Duration> = answers.iter().map(|answer| answer.took).collect();
    let all = at(&mut all, 99).unwrap_or_default().as_micros();
    let rate = answers.len() as f64 / took.as_secs_f64();
    let (half, most) = (half.as_micros(), most.as_micros());
    println!("{half} {most} {} {failed} {rate:.0} {all}", answers.len());
    Ok(())
}

/// A percentile.
fn at(times: &mut [Duration], percent: usize) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() * percent / 100).copied()
}

fn median(times: impl Iterator<Item = Duration>) -> Option<Duration> {
    at(&mut times.collect::<Vec<_>>(), 50)
}

/// One connection's requests, until the end.
fn connection(load: &Load) -> io::Result<Seen> {
    let mut stream = TcpStream::connect(load.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let chance = RandomState::new();
    let mut seen = Seen::default();
    let end = load.start + load.length;
    let mut due = Instant::now();
    let mut answer = Vec::with_capacity(4_096);
    for number in 0_u64.. {
        // Uniform in [0, 1), in as many steps as a double has.
        let uniform = (chance.hash_one(number) >> 11) as f64 / (1_u64 << 53) as f64;
        due += load.gap.mul_f64(-(1.0 - uniform).ln());
        if due >= end || Instant::now() >= end + PATIENCE {
            break;
        }
        let early = due.checked_duration_since(Instant::now());
        let due = early.map_or(due, |early| {
            thread::sleep(early);
            // That it woke late is nobody's answer's time.
            Instant::now()
        });
        stream.write_all(load.request.as_bytes())?;
        let status = read_answer(&mut stream, &mut answer)?;
        seen.answers.push(Answer {
            due,
            took: due.elapsed(),
        });
        seen.failed += usize::from(status != 200);
    }
    Ok(seen)
}

/// Reads one answer of a known length into `answer`, and says its status.
fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<u16> {
    answer.clear();
    let mut piece = [0; 4_096];
    loop {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&piece[..length]);
        if let Some((status, end)) = head(answer)?
            && answer.len() >= end
        {
            return Ok(status);
        }
    }
}

/// An answer's status and where it ends; `None` where its head is not all here.
fn head(answer: &[u8]) -> io::Result<Option<(u16, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(answer).map_err(io::Error::other)?;
    let (httparse::Status::Complete(end), Some(status)) = (parsed, response.code) else {
        return Ok(None);
    };
    let is_length =
        |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case("content-length");
    let length = response.headers.iter().find(is_length);
    let length = length.and_then(|field| std::str::from_utf8(field.value).ok()?.parse().ok());
    let length: usize = length.ok_or_else(|| io::Error::other("an answer has no length"))?;
    Ok(Some((status, end + length)))
}
