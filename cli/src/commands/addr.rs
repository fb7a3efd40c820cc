//! `tmq addr`: the history of an address.

use std::path::Path;

use clap::Args;
use tmq_query::report::{Address, Report};

use crate::args::OutputArgs;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::input::RecordingArg;
use crate::report::AddressView;
use crate::ui::Ui;

/// Show the blocks that contained an address: who allocated them, who freed them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq addr 0x55d0c8a0f2a0             every block that ever contained this address
  tmq addr 0x55d0c8a0f2a0 @1.5s       with its state after 1.5 s
  tmq addr 0x55d0c8a0f2a0 --pid 4711  only in this process

Addresses are hexadecimal with 0x and decimal without. An address inside a block finds the block.")]
pub(crate) struct Addr {
    /// Address, perhaps inside a block
    #[arg(value_name = "ADDRESS", value_parser = parse_address)]
    address: u64,

    #[command(flatten)]
    recording: RecordingArg,

    /// Look only at the process with this id
    #[arg(long, value_name = "PID")]
    pid: Option<i32>,

    /// Show the N blocks nearest to the moment; 0 shows all
    #[arg(short = 'n', long = "limit", value_name = "N", default_value_t = 10)]
    limit: usize,

    #[command(flatten)]
    output: OutputArgs,

    /// Print the SQL behind the report instead of running it
    #[arg(long, help_heading = "Output")]
    show_sql: bool,
}

impl Addr {
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        let reference = self.recording.resolve(ui)?;
        let report = Report::Address(Address {
            recording: 0,
            address: self.address,
            moment: reference.moment.clone(),
            pid: self.pid,
            limit: (self.limit > 0).then_some(self.limit),
        });
        let engine = Engine::open(&reference)?;
        if self.show_sql {
            return super::sql::show(&engine.report_sql(&report)?, &self.output);
        }
        AddressView { engine: &engine, report, address: self.address, moment: reference.moment, ui }.write(&self.output)
    }
}

fn parse_address(text: &str) -> Result<u64> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| {
        let hex = u64::from_str_radix(text, 16).is_ok();
        let is_recording = text.contains(['@', '/']) || text.ends_with(".tmq") || Path::new(text).exists();
        Error::new(if is_recording {
            format!("the address comes first: tmq addr 0x... {text}")
        } else if hex {
            format!("not a decimal number; write 0x{text} if it is hexadecimal")
        } else {
            "not an address: write 0x and hexadecimal digits".to_owned()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::parse_address;

    #[test]
    fn hexadecimal_needs_its_prefix() {
        assert_eq!(parse_address("0x1f").unwrap(), 31);
        assert_eq!(parse_address("31").unwrap(), 31);
        assert!(parse_address("1f").unwrap_err().to_string().contains("write 0x1f"));
        assert!(parse_address("zz").is_err());
    }

    #[test]
    fn a_recording_in_the_place_of_the_address_is_recognised() {
        for text in ["app.tmq", "app.tmq@end", "@1s", "runs/app"] {
            assert_eq!(
                parse_address(text).unwrap_err().to_string(),
                format!("the address comes first: tmq addr 0x... {text}")
            );
        }
    }
}
