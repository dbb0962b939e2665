//! The screen of `ohm top`.

use std::cmp::Reverse;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Row, Table};
use transport::usage::{TaskUsageRow, Usage, UsageView};

use super::text;
use super::usage::{machine_cells, task_cells};

/// What tasks are ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Processors in use.
    Cpu,
    /// Resident memory.
    Memory,
    /// Bytes read and written.
    Io,
}

impl Order {
    /// Puts those that use most first.
    pub(crate) fn sort(self, tasks: &mut [TaskUsageRow]) {
        tasks.sort_by_key(|row| {
            let Usage { cpu_milli, memory_bytes, read_bytes, written_bytes, .. } = row.usage;
            let most = match self {
                Order::Cpu => cpu_milli,
                Order::Memory => memory_bytes,
                Order::Io => read_bytes.saturating_add(written_bytes),
            };
            (Reverse(most), row.task)
        });
    }

    fn word(self) -> &'static str {
        match self {
            Order::Cpu => "cpu",
            Order::Memory => "memory",
            Order::Io => "io",
        }
    }
}

/// Draws all of it.
pub(crate) fn draw(frame: &mut Frame<'_>, view: &UsageView, order: Order) {
    // Machines get at most a third of the screen, and no more than they need.
    let most = frame.area().height / 3;
    let machines = (view.machines.len() as u16).saturating_add(1).min(most.max(2));
    let [head, upper, _, lower, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(machines),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let running: u32 = view.machines.iter().map(|row| row.tasks).sum();
    let used = view.machines.iter().fold(Usage::default(), |sum, row| sum.plus(row.usage));
    let line = format!(
        "seq {}   {} machines   {running} tasks   using {} cores, {}",
        view.at,
        view.machines.len(),
        used.cpu_milli as f64 / 1_000.0,
        text::bytes(used.memory_bytes),
    );
    frame.render_widget(Line::from(line).style(Style::new().add_modifier(Modifier::BOLD)), head);
    let titles = [
        "MACHINE",
        "STATUS",
        "TASKS",
        "CPU USED/PROMISED/LIMIT",
        "MEMORY USED/PROMISED/LIMIT",
        "READ",
        "WRITTEN",
        "SAMPLED",
    ];
    let widths = [20, 9, 6, 26, 34, 10, 10, 12];
    table(frame, upper, &titles, &widths, view.machines.iter().map(machine_cells));
    let titles = [
        "TASK",
        "MACHINE",
        "PRIORITY",
        "CPU USED/PROMISED",
        "MEMORY USED/PROMISED",
        "PEAK",
        "READ",
        "WRITTEN",
    ];
    let widths = [32, 20, 8, 18, 24, 10, 10, 10];
    table(frame, lower, &titles, &widths, view.tasks.iter().map(task_cells));
    let keys = format!("by {}   c cpu  m memory  i io  q quit", order.word());
    frame.render_widget(Line::from(keys).style(Style::new().add_modifier(Modifier::DIM)), foot);
}

fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    titles: &[&str],
    widths: &[u16],
    rows: impl Iterator<Item = Vec<String>>,
) {
    let head = Row::new(titles.to_vec()).style(Style::new().add_modifier(Modifier::UNDERLINED));
    let rows =
        rows.take(usize::from(area.height)).map(|cells| Row::new(cells.into_iter().take(widths.len())));
    let widths = widths.iter().map(|width| Constraint::Length(*width));
    frame.render_widget(Table::new(rows, widths).header(head).column_spacing(1), area);
}

#[cfg(test)]
mod tests {
    use cell_state::machine::MachineState;
    use cell_state::{JobId, Resources, Seq, TaskId, Time};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use transport::usage::MachineUsageRow;

    use super::*;

    fn view() -> UsageView {
        let usage = |cpu_milli, memory_bytes| Usage { cpu_milli, memory_bytes, ..Usage::default() };
        let task = |index, cpu, memory| TaskUsageRow {
            task: TaskId { job: JobId(1), group: 0, index },
            epoch: 1,
            job: "web".into(),
            group: "main".into(),
            machine: "m1".into(),
            priority: 200,
            promised: Resources::cpu_memory(2_000, 1 << 30),
            usage: usage(cpu, memory),
            age_us: 0,
        };
        UsageView {
            at: Seq(7),
            time: Time(0),
            machines: vec![MachineUsageRow {
                name: "m1".into(),
                state: MachineState::Ready,
                tasks: 2,
                sampled: 2,
                limit: Resources::cpu_memory(8_000, 16 << 30),
                promised: Resources::cpu_memory(4_000, 2 << 30),
                usage: usage(1_500, 3 << 20),
                age_us: Some(1_000_000),
            }],
            tasks: vec![task(0, 500, 2 << 20), task(1, 1_000, 1 << 20)],
            tasks_total: 2,
        }
    }

    #[test]
    fn the_screen_shows_machines_and_tasks_in_the_order_asked_for() {
        let mut terminal = Terminal::new(TestBackend::new(160, 20)).unwrap();
        let mut view = view();
        let mut at = |order: Order| {
            order.sort(&mut view.tasks);
            terminal.draw(|frame| draw(frame, &view, order)).unwrap();
            let shown = terminal.backend().to_string();
            (shown.find("web/main/0").unwrap(), shown.find("web/main/1").unwrap(), shown)
        };
        let (first, second, shown) = at(Order::Cpu);
        assert!(second < first && shown.contains("by cpu") && shown.contains("1.5 / 4 / 8"), "{shown}");
        let (first, second, _) = at(Order::Memory);
        assert!(first < second);
    }
}
