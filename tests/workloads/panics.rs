//! Panics through frames that hold memory, caught, in several threads: unwinding frees what the frames held.
use std::hint::black_box;
use std::panic;

#[inline(never)]
fn descend(n: u32, held: &mut Vec<String>) -> usize {
    let local = "x".repeat(100 + n as usize);
    if n == 0 {
        panic!("{}", black_box(local));
    }
    held.push(local.clone());
    descend(n - 1, held) + local.len()
}

fn main() {
    panic::set_hook(Box::new(|_| {}));
    let threads: Vec<_> = (0..4)
        .map(|t| {
            std::thread::spawn(move || {
                let mut caught = 0;
                for i in 0..200 {
                    let result = panic::catch_unwind(|| descend(40 + (t + i) % 5, &mut Vec::new()));
                    caught += u32::from(result.is_err());
                }
                caught
            })
        })
        .collect();
    let caught: u32 = threads.into_iter().map(|t| t.join().unwrap()).sum();
    println!("{caught} caught");
}
