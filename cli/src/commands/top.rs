//! `ohm top`: what machines and tasks use, live on a terminal, once into a pipe.

use std::io::{self, IsTerminal};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;
use transport::usage::UsageView;

use crate::bounds::TOP_EVERY_MIN;
use crate::connection::{Asker, Connection};
use crate::failure::{Ended, Failure};
use crate::show::screen::{Order, draw};
use crate::show::{self, usage};
use crate::typed::connect::Format;
use crate::typed::reads::TopArgs;

/// What was asked for, checked.
pub(crate) struct Top {
    connection: Connection,
    args: TopArgs,
    every: Duration,
}

impl Top {
    /// Checks what was typed.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub(crate) fn check(args: TopArgs) -> Result<Top, Failure> {
        let wrong = |problem: String| {
            Failure::Input(format!("--every: {:?} {problem}; write 2s or 500ms", args.every))
        };
        let every = humantime::parse_duration(&args.every)
            .map_err(|error| wrong(format!("is no duration ({error})")))?;
        if every < TOP_EVERY_MIN {
            return Err(wrong(format!("is less than {}", humantime::format_duration(TOP_EVERY_MIN))));
        }
        Ok(Top { connection: Connection::check(&args.connect)?, args, every })
    }
}

pub(crate) async fn run(top: Top) -> Result<Ended, Failure> {
    let Top { connection, args, every } = top;
    let mut server = connection.open().await?;
    let format = args.output.output;
    let is_live =
        !args.once && format == Format::Table && io::stdout().is_terminal() && io::stdin().is_terminal();
    if is_live {
        // Asked before the screen is taken, so that an error is told on the terminal as it was.
        let view = server.usage(args.machine.as_deref(), args.tasks).await?;
        let mut terminal = ratatui::try_init()?;
        let ended = live(&mut server, &args, every, view, &mut terminal).await;
        ratatui::restore();
        return ended;
    }
    let view = server.usage(args.machine.as_deref(), args.tasks).await?;
    match format {
        Format::Table => show::print(&usage::tables(&view, false))?,
        Format::Wide => show::print(&usage::tables(&view, true))?,
        Format::Json => show::print(&show::pretty(&usage::json(&view)))?,
        Format::Name => show::print(&usage::names(&view))?,
    }
    Ok(Ended::Well)
}

async fn live(
    server: &mut Asker,
    args: &TopArgs,
    every: Duration,
    mut view: UsageView,
    terminal: &mut ratatui::DefaultTerminal,
) -> Result<Ended, Failure> {
    let mut keys = keys();
    let mut order = Order::Cpu;
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        order.sort(&mut view.tasks);
        terminal.draw(|frame| draw(frame, &view, order))?;
        tokio::select! {
            _ = tick.tick() => view = server.usage(args.machine.as_deref(), args.tasks).await?,
            key = keys.recv() => match key {
                Some(Key::Quit) | None => return Ok(Ended::Well),
                Some(Key::Order(next)) => order = next,
                Some(Key::Redraw) => {}
            },
        }
    }
}

/// What a key means.
enum Key {
    Quit,
    Order(Order),
    Redraw,
}

/// Keys, read on a thread of their own.
fn keys() -> mpsc::Receiver<Key> {
    let (sender, keys) = mpsc::channel(16);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            let key = match event {
                Event::Key(key) if key.kind == KeyEventKind::Release => continue,
                Event::Key(key) => match key.code {
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Quit,
                    KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
                    KeyCode::Char('c') => Key::Order(Order::Cpu),
                    KeyCode::Char('m') => Key::Order(Order::Memory),
                    KeyCode::Char('i') => Key::Order(Order::Io),
                    _ => continue,
                },
                Event::Resize(..) => Key::Redraw,
                _ => continue,
            };
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    });
    keys
}
