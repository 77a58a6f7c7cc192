//! What is seen of processes, and what is left for others of this process.

use super::*;

#[test]
fn a_line_is_read_whatever_the_name_is() {
    let line = "12 (a) b (c)) S 7 12 12 0 -1 4194304 1 0 0 0 2 3 0 0 20 0 5 0 100 1 1";
    let expected = Stat { id: Pid::from_raw(12), parent: Pid::from_raw(7), is_dead: false, threads: 5 };
    assert_eq!(Stat::parse(line), Some(expected));
    assert_eq!(Stat::parse("nonsense"), None);
    let dead = |threads| Stat::parse(&line.replace(" S ", " Z ").replace(" 20 0 5 ", threads)).unwrap().is_dead;
    assert!(dead(" 20 0 1 ") && !dead(" 20 0 2 "), "its first thread has ended, and another has not");
    let own = Stat::read(Some(std::process::id().try_into().unwrap())).unwrap().unwrap();
    assert!(own.threads >= 1 && !own.is_dead);
}

#[test]
fn a_thread_that_exits_does_not_run_whatever_its_state_is() {
    let line = |state: &str, flags: u32| {
        format!("12 (a) b (c)) {state} 7 12 12 0 -1 {flags} 1 0 0 0 2 3 0 0 20 0 5 0 100 1 1")
    };
    for state in ["R", "S", "D"] {
        assert!(runs(&line(state, 4_194_304)), "{state}");
        assert!(!runs(&line(state, 4_194_304 | 0x4)), "{state}, exiting");
    }
    assert!(!runs(&line("Z", 4_194_304)) && !runs("nonsense"));
    assert!(is_running(Path::new("/proc/self/task").join(nix::unistd::gettid().to_string()).as_path()).unwrap());
}

#[test]
fn descendants_are_counted_over_generations() {
    let mut child =
        std::process::Command::new("sh").args(["-c", "sh -c 'sleep 60 & wait' & wait"]).process_group_and_spawn();
    let id = Pid::from_raw(child.id().try_into().unwrap());
    let three = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let all = Descendants::now(Reap::Nothing).unwrap().processes;
        all.contains(&id) && all.len() >= 3
    });
    killpg(id, Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    assert!(three);
}

#[test]
fn who_looks_takes_no_exit_from_who_waits() {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let id = Pid::from_raw(child.id().try_into().unwrap());
    let is_dead = || Stat::read(Some(id.as_raw())).unwrap().is_some_and(|stat| stat.is_dead);
    let died = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        is_dead()
    });
    assert!(died);
    assert!(Descendants::now(Reap::Nothing).unwrap().processes.contains(&id));
    assert!(!Descendants::are_more_than(1 << 20, Reap::Nothing).unwrap());
    assert!(is_dead(), "it is there still");
    assert!(child.wait().unwrap().success());
}

#[test]
fn all_are_reaped_but_the_one_that_somebody_waits_for() {
    let [ours, other] = [7, 8].map(Pid::from_raw);
    assert!(!Reap::AllBut(Some(ours)).includes(ours) && Reap::AllBut(Some(ours)).includes(other));
    assert!(Reap::AllBut(None).includes(ours) && !Reap::Nothing.includes(ours));
}

trait InGroup {
    fn process_group_and_spawn(&mut self) -> std::process::Child;
}

impl InGroup for std::process::Command {
    fn process_group_and_spawn(&mut self) -> std::process::Child {
        use std::os::unix::process::CommandExt;
        self.process_group(0).spawn().unwrap()
    }
}
