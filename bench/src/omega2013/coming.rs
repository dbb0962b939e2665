//! The jobs that are to come in a run, in order of submission: read ones, or drawn one by one as they come.

use super::sbs1::Draws;
use super::{Class, Settings, StreamJob, Streams};

/// A job that comes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Arrival {
    pub(super) class: Class,
    /// Which job it is that is dealt to a scheduler, from 1.
    pub(super) dealt: u32,
    pub(super) of: StreamJob,
}

/// The jobs of a run.
pub(super) struct Coming<'a> {
    /// Every pair of cores and memory that a task asks for.
    pub(super) sizes: Vec<(f64, f64)>,
    jobs: Box<dyn Iterator<Item = Arrival> + 'a>,
}

impl<'a> Coming<'a> {
    /// Those of streams. Jobs are dealt as the original does it: all batch jobs, then all service jobs.
    pub(super) fn read(settings: &Settings, streams: &'a Streams) -> Coming<'a> {
        let batch = streams.batch.iter().map(|job| (Class::Batch, *job));
        let service = streams.service.iter().map(|job| (Class::Service, *job));
        let sizes = streams.batch.iter().chain(&streams.service).map(|job| (job.cpus, job.memory)).collect();
        let run_time_s = settings.run_time_s;
        let in_time = batch.chain(service).filter(|(_, of)| of.submit_s < run_time_s);
        let mut jobs: Vec<Arrival> =
            in_time.zip(1..).map(|((class, of), dealt)| Arrival { class, dealt, of }).collect();
        jobs.sort_by(|a, b| a.of.submit_s.total_cmp(&b.of.submit_s));
        Coming { sizes, jobs: Box::new(jobs.into_iter()) }
    }

    /// Drawn ones: a job exists from when it comes until it is placed or given up.
    pub(super) fn drawn(settings: &Settings, draws: &Draws) -> Coming<'a> {
        let of_class = |class| {
            let jobs = draws.jobs(class, settings.run_time_s).zip(1..);
            jobs.map(move |(of, dealt)| Arrival { class, dealt, of })
        };
        let (mut batch, mut service) =
            (of_class(Class::Batch).peekable(), of_class(Class::Service).peekable());
        let merged = std::iter::from_fn(move || match (batch.peek(), service.peek()) {
            (Some(a), Some(b)) if a.of.submit_s > b.of.submit_s => service.next(),
            (None, _) => service.next(),
            (Some(_), _) => batch.next(),
        });
        Coming { sizes: Draws::sizes(), jobs: Box::new(merged) }
    }
}

impl Iterator for Coming<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        self.jobs.next()
    }
}
