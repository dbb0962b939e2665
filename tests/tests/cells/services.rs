//! Where running tasks can be reached: asked of the cell, and of an agent that answers names.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use cell_tests::test_cell::{TestCell, text, wait_for};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

/// Asks the responder on this port of 127.0.0.1, again when a datagram is lost.
fn ask(port: u16, name: &str, kind: RecordType) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    let bytes = query.to_vec().expect("a query");
    wait_for("an answer", || {
        socket.send_to(&bytes, ("127.0.0.1", port)).ok()?;
        let mut reply = [0; 4_096];
        let (length, _) = socket.recv_from(&mut reply).ok()?;
        let reply = Message::from_vec(&reply[..length]).expect("a message");
        // Before the first snapshot there is nothing to say.
        (reply.metadata.response_code != ResponseCode::ServFail).then_some(reply)
    })
}

fn addresses(reply: &Message) -> Vec<String> {
    let addresses = reply.answers.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(address.0.to_string()),
        _ => None,
    });
    addresses.collect()
}

/// Ports, names and the addresses beside them.
fn services(reply: &Message) -> Vec<(u16, String)> {
    let services = reply.answers.iter().filter_map(|record| match &record.data {
        RData::SRV(service) => Some((service.port, service.target.to_ascii())),
        _ => None,
    });
    services.collect()
}

/// A resolver that everybody knows, over both carriers, where this machine has one.
fn asked_with_dig(port: u16, address: &str, number: u16) {
    let dig = |args: &[&str]| {
        let server = ["@127.0.0.1", "-p", &port.to_string()].map(str::to_owned);
        Command::new("dig").args(server).args(args).output().ok().map(|output| text(&output.stdout))
    };
    match dig(&["+short", "main-0.web.test", "A"]) {
        Some(printed) => {
            assert_eq!(printed, format!("{address}\n"));
            let printed = dig(&["+short", "+tcp", "_http._tcp.main-1.web.test", "SRV"]).expect("dig");
            assert_eq!(printed, format!("0 1 {number} main-1.web.test.\n"));
        }
        None => eprintln!("skipped: this machine has no dig (Debian: bind9-dnsutils)"),
    }
}

/// Two tasks, a port each, on a machine each.
const WEB: &str = "name = \"web\"\nkind = \"service\"\n[[groups]]\nname = \"main\"\ncount = 2\ndistinct_machines = true\n\
                   [groups.run]\ncommand = \"/bin/sleep\"\nargs = [\"1000\"]\n[[groups.ports]]\nname = \"http\"\n\
                   [groups.resources]\ncpu = \"200m\"\nmemory = \"32 MiB\"\n";

#[test]
fn running_tasks_with_ports_are_found_by_name_also_while_the_server_is_away() {
    let mut cell = TestCell::start(&[]);
    cell.scheduler("service", "service", "service", 1);
    // A port that was free a moment ago.
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let dns = format!("127.0.0.1:{port}");
    cell.agent("m1", &["--cpu", "2", "--memory", "1 GiB", "--dns", &dns]);
    cell.agent("m2", &["--cpu", "2", "--memory", "1 GiB", "--address", "10.9.8.7"]);
    cell.wait_ready(2);
    let (_, problem) = cell.refused(&["service", "resolve", "web"]);
    assert!(
        problem.contains("name") && problem.contains("\"web\"") && problem.contains("service list"),
        "{problem}"
    );
    cell.write("web.toml", WEB);
    cell.run(&["job", "run", "web.toml"]);
    let list = wait_for("both running", || {
        let list = cell.json(&["service", "list"]);
        (list[0]["running"] == 2).then_some(list)
    });
    assert_eq!((&list[0]["service"], list.as_array().map(Vec::len)), (&"http.main.web".into(), Some(1)));
    assert_eq!(cell.run(&["service", "list", "-o", "name"]), "http.main.web\n");

    // What the cell says of the tasks is what is resolved.
    let tasks = cell.json(&["job", "status", "web"])["task_list"].clone();
    let port_of = |index: usize| tasks[index]["ports"][0].as_u64().expect("a port") as u16;
    let address_of = |index: usize| if tasks[index]["machine"] == "m1" { "127.0.0.1" } else { "10.9.8.7" };
    let expected: String = (0..2).map(|i| format!("{}:{}\n", address_of(i), port_of(i))).collect();
    assert_eq!(cell.run(&["service", "resolve", "http.main.web"]), expected);
    assert_eq!(cell.run(&["service", "resolve", "web.test"]), expected);
    assert_eq!(
        cell.run(&["service", "resolve", "http.main-1.web.test"]),
        format!("{}:{}\n", address_of(1), port_of(1))
    );
    let json = cell.json(&["service", "resolve", "0.web"]);
    assert_eq!((&json[0]["task"], &json[0]["port_name"]), (&"web/main/0".into(), &"http".into()), "{json}");

    // The same names, by the domain name system.
    let reply = wait_for("the copy", || {
        let reply = ask(port, "main.web.test.", RecordType::A);
        (addresses(&reply).len() == 2).then_some(reply)
    });
    assert_eq!(addresses(&reply), ["10.9.8.7", "127.0.0.1"]);
    let reply = ask(port, "http.main.web.test.", RecordType::SRV);
    let name = |index: usize| format!("main-{index}.web.test.");
    assert_eq!(services(&reply), [(port_of(0), name(0)), (port_of(1), name(1))]);
    assert_eq!(reply.additionals.len(), 2);
    // Resolvers may write as they like.
    assert_eq!(addresses(&ask(port, "MAIN-1.wEb.TEST.", RecordType::A)), [address_of(1)]);
    assert_eq!(ask(port, "nobody.test.", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(ask(port, "example.org.", RecordType::A).metadata.response_code, ResponseCode::Refused);

    asked_with_dig(port, address_of(0), port_of(1));

    // What was known is answered while the server is away, and what changes is known when it is back.
    cell.get("server").kill();
    assert_eq!(addresses(&ask(port, "main.web.test.", RecordType::A)).len(), 2);
    cell.get("server").restart();
    cell.run(&["job", "stop", "--yes", "web"]);
    wait_for("nobody", || addresses(&ask(port, "main.web.test.", RecordType::A)).is_empty().then_some(()));
    assert_eq!(cell.json(&["service", "list"]).as_array().map(Vec::len), Some(0));

    // An address that is taken is told at once.
    cell.issue(transport::Role::Agent, "m3");
    let (_, problem) = cell.refused(&[
        "agent", "--name", "m3", "--data", "m3", "--cpu", "1", "--memory", "1 GiB", "--dns", &dns,
    ]);
    assert!(problem.contains(&dns) && problem.contains("--dns"), "{problem}");
}
