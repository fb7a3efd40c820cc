//! A leak in a server: recorded under load, a moment named from inside, the difference names the line.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::support::{root, run, scratch, tmq, workload_with};

const REQUESTS_BEFORE: usize = 20;
const REQUESTS_AFTER: usize = 300;

fn include() -> String {
    format!("-I{}", root().join("recorder/preload/include").display())
}

/// Does not outlive a failed test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

/// Runs the server through `command`, asks it, and waits for its end.
fn serve(mut command: Command) {
    let mut server = Server(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut output = BufReader::new(server.0.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let port: u16 = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let ask = |path: &str| {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // In one piece: the server reads once.
        connection.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with(&format!("you asked for {path}\n")), "{answer}");
    };
    let paths = std::iter::repeat_n("/page", REQUESTS_BEFORE)
        .chain(["/warm"])
        .chain(std::iter::repeat_n("/page", REQUESTS_AFTER))
        .chain(["/quit"]);
    paths.for_each(ask);
    assert!(server.0.wait().unwrap().success());
}

#[test]
fn the_difference_between_two_moments_names_the_line() {
    let program = workload_with("leak_server.c", &["-g", "-O1", &include()]);
    // The mark is a weak symbol: the program runs without tmq.
    serve(Command::new(&program));
    let recording = scratch("leak").join("server.tmq");
    let mut command = tmq();
    command.args(["record", "-q", "-o"]).arg(&recording).arg("--").arg(&program);
    serve(command);
    let moment = |name: &str| format!("{}@{name}", recording.display());
    let output = run(tmq().args(["diff", &moment("mark:warm"), &moment("end"), "-n", "1"]));
    let text = String::from_utf8(output.stdout).unwrap();
    // One session of 192 bytes for each request after the mark, the one that ended the server included.
    let (leaked, bytes) = (REQUESTS_AFTER + 1, (REQUESTS_AFTER + 1) * 192);
    assert!(text.contains("open_session") && text.contains("leak_server.c:13"), "{text}");
    assert!(text.contains(&format!("(+{leaked})")), "{text}");
    let rows = run(tmq().args(["sql", "-r"]).arg(&recording).args([
        "--format",
        "csv",
        "select size_diff, count_diff from compare_to('@mark:warm', '@end', 'lineno') order by 1 desc limit 1",
    ]));
    let rows = String::from_utf8(rows.stdout).unwrap();
    assert_eq!(rows, format!("size_diff,count_diff\n{bytes},{leaked}\n"));
}
