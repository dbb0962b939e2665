//! Job files: any text is a spec within all bounds or one error that names what is wrong.

use cell_state::bounds::JOB_SPEC_BYTES_MAX;
use cell_state::resources::Schema;
use cell_state::{codec, validate};

use job_file::{Document, Resources, Syntax};

// The module is the command line's own, which is no library; what only its commands use is not used here.
#[path = "../../../cli/src/job_file/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the commands use the rest")]
mod job_file;

pub(super) fn job_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for syntax in [Syntax::of("", text), Syntax::Toml, Syntax::Json] {
        let document = match Document::parse(text, syntax) {
            Ok(document) => document,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        let schema = Schema { custom: vec!["licenses".to_owned()] };
        match job_file::spec(&document, Resources::Known(&schema)) {
            Ok(spec) => {
                validate::job(&spec, &schema).expect("a spec of a file is within all bounds");
                assert!(codec::encode(&spec).len() <= JOB_SPEC_BYTES_MAX, "a spec over the bound");
            }
            Err(error) => assert!(!error.problem.is_empty() && !error.to_string().contains('\u{0}')),
        }
        if let Err(error) = job_file::spec(&document, Resources::NotYetKnown) {
            assert!(!error.problem.is_empty());
        }
    }
}
