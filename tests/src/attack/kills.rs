//! `kill -9` of the server at random moments of a full load.

use std::time::Duration;

use rand::RngExt;

use super::field::Field;
use super::{Plan, Summary};

pub(super) fn run(plan: Plan) -> Summary {
    // Checkpoints are made all the time, so that many kills meet one.
    let mut field = Field::start(&plan, &["--checkpoint-every", "1s", "--down-after", "60s"]);
    let mut rng = plan.rng();
    let (mut kills, mut in_recovery) = (0, 0);
    for step in plan.steps() {
        // Mostly wherever it is just then; every third time in the middle of the load for sure.
        if step % 3 == 0 {
            field.goes_on();
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(0..400)));
        field.cell.get("server").kill();
        kills += 1;
        while rng.random_bool(0.25) {
            field.cell.get("server").restart();
            std::thread::sleep(Duration::from_millis(rng.random_range(0..120)));
            field.cell.get("server").kill();
            (kills, in_recovery) = (kills + 1, in_recovery + 1);
        }
        field.cell.get("server").restart();
    }
    field.goes_on();
    field.prove(vec![("kills", kills), ("of them soon after a start", in_recovery)])
}
