//! From a query to its answer, given the cell.
//!
//! `A` and `AAAA` give the addresses of the machines of running tasks, `SRV` of a port the port numbers with a name for each
//! task, whose address comes along. Names below the cell's that mean nothing don't exist; the answer is good for a few
//! seconds, since tasks move.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cell_state::Cell;
use cell_state::endpoint::{Endpoint, endpoints, meaning};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SOA, SRV};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::bounds::{DNS_DATAGRAM_BYTES, DNS_DATAGRAM_BYTES_MAX, DNS_RECORDS_MAX, DNS_TTL_SECONDS};

/// What carries a query and its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Carrier {
    /// One datagram: an answer that is too long for it is cut, and asked for again over a connection.
    Datagram,
    /// A connection.
    Connection,
}

/// The answer to a query; `None` when it is none, and is better left without.
pub(super) fn answer(cell: Option<&Cell>, query: &[u8], carrier: Carrier) -> Option<Vec<u8>> {
    let asked = Message::from_vec(query).ok()?;
    // Answering answers would go on for ever.
    if asked.metadata.message_type == MessageType::Response {
        return None;
    }
    let mut reply = Message::response(asked.metadata.id, asked.metadata.op_code);
    reply.metadata.recursion_desired = asked.metadata.recursion_desired;
    reply.add_queries(asked.queries.iter().cloned());
    reply.metadata.response_code = match (&asked.queries[..], asked.metadata.op_code, cell) {
        (_, op, _) if op != OpCode::Query => ResponseCode::NotImp,
        ([query], _, Some(cell)) => fill(cell, query, &mut reply),
        ([_], _, None) => ResponseCode::ServFail,
        _ => ResponseCode::FormErr,
    };
    let bytes = reply.to_vec().ok()?;
    let room = match carrier {
        Carrier::Connection => usize::from(u16::MAX),
        Carrier::Datagram => {
            let offered = asked.edns.as_ref().map_or(DNS_DATAGRAM_BYTES, |edns| edns.max_payload());
            usize::from(offered.clamp(DNS_DATAGRAM_BYTES, DNS_DATAGRAM_BYTES_MAX))
        }
    };
    if bytes.len() > room { reply.truncate().to_vec().ok() } else { Some(bytes) }
}

/// Adds what is known to an answer.
fn fill(cell: &Cell, query: &Query, reply: &mut Message) -> ResponseCode {
    let zone = &cell.config().name;
    let name = query.name.to_ascii();
    let lower = name.trim_end_matches('.').to_ascii_lowercase();
    let is_below = |name: &str| name == *zone || name.ends_with(&format!(".{zone}"));
    if query.query_class != DNSClass::IN || !is_below(&lower) {
        return ResponseCode::Refused;
    }
    reply.metadata.authoritative = true;
    // Resolvers may write capitals to protect themselves; names of jobs may have them on purpose.
    let meant = meaning(cell, &lower).or_else(|| meaning(cell, name.trim_end_matches('.')));
    let Some(meant) = meant else {
        reply.authorities.extend(authority(cell));
        // The cell itself is a name without records.
        return if lower == *zone { ResponseCode::NoError } else { ResponseCode::NXDomain };
    };
    let found = endpoints(cell, &meant);
    match query.query_type {
        RecordType::SRV if meant.port.is_some() => services(zone, &query.name, &found, reply),
        RecordType::A | RecordType::AAAA => {
            let addresses: BTreeSet<IpAddr> = found.iter().filter_map(address).collect();
            let records = addresses.into_iter().map(|address| record(&query.name, address));
            reply
                .answers
                .extend(records.filter(|r| r.record_type() == query.query_type).take(DNS_RECORDS_MAX));
        }
        _ => {}
    }
    if reply.answers.is_empty() {
        reply.authorities.extend(authority(cell));
    }
    ResponseCode::NoError
}

fn address(endpoint: &Endpoint) -> Option<IpAddr> {
    endpoint.address.as_ref()?.parse().ok()
}

fn record(name: &Name, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    Record::from_rdata(name.clone(), DNS_TTL_SECONDS, data)
}

/// One record per task, and the address of each beside it.
fn services(zone: &str, name: &Name, found: &[Endpoint], reply: &mut Message) {
    for endpoint in found.iter().take(DNS_RECORDS_MAX) {
        let target = format!("{}-{}.{}.{zone}.", endpoint.group, endpoint.task.index, endpoint.job);
        let (Some((_, number)), Ok(target)) = (&endpoint.port, Name::from_ascii(&target)) else { continue };
        let service = RData::SRV(SRV::new(0, 1, *number, target.clone()));
        reply.add_answer(Record::from_rdata(name.clone(), DNS_TTL_SECONDS, service));
        reply.additionals.extend(address(endpoint).map(|address| record(&target, address)));
    }
}

/// Who says that there is nothing, and for how long that may be remembered.
fn authority(cell: &Cell) -> Option<Record> {
    let zone = Name::from_ascii(format!("{}.", cell.config().name)).ok()?;
    let ttl = DNS_TTL_SECONDS;
    let serial = cell.seq().0 as u32;
    let data = SOA::new(zone.clone(), zone.clone(), serial, ttl as i32, ttl as i32, ttl as i32, ttl);
    Some(Record::from_rdata(zone, ttl, RData::SOA(data)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cell_state::event::{CellConfig, Event};
    use cell_state::machine::{DEFAULT_PORTS, MachineSpec};
    use cell_state::{MachineId, Resources, Time};

    use super::*;

    fn cell() -> Cell {
        let mut cell = Cell::new();
        let config = CellConfig { name: "west".into(), ..CellConfig::default() };
        cell.apply(cell.seq().next(), &Event::Configured { config });
        let spec = MachineSpec {
            name: "m1".into(),
            capacity: Resources::ZERO,
            attributes: BTreeMap::new(),
            devices: Vec::new(),
            ports: DEFAULT_PORTS,
        };
        let machine = MachineId(0);
        let event = Event::MachineRegistered { machine, spec: spec.into(), incarnation: 1, time: Time(1) };
        cell.apply(cell.seq().next(), &event);
        cell
    }

    fn ask(cell: Option<&Cell>, name: &str, change: impl Fn(&mut Message)) -> Option<Message> {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        change(&mut query);
        let bytes = answer(cell, &query.to_vec().unwrap(), Carrier::Datagram)?;
        Some(Message::from_vec(&bytes).unwrap())
    }

    #[test]
    fn what_is_asked_wrongly_or_elsewhere_is_answered_shortly() {
        let cell = cell();
        let code = |name: &str| ask(Some(&cell), name, |_| {}).unwrap().metadata.response_code;
        assert_eq!(code("web.west."), ResponseCode::NXDomain);
        assert_eq!(code("WEST."), ResponseCode::NoError);
        assert_eq!(code("example.org."), ResponseCode::Refused);
        assert_eq!(code("northwest."), ResponseCode::Refused);
        let unknown = ask(Some(&cell), "web.west.", |_| {}).unwrap();
        assert_eq!((unknown.metadata.authoritative, unknown.authorities.len()), (true, 1));
        let early = ask(None, "web.west.", |_| {}).unwrap();
        assert_eq!(early.metadata.response_code, ResponseCode::ServFail);
        let update = ask(Some(&cell), "web.west.", |q| q.metadata.op_code = OpCode::Update);
        assert!(update.is_none_or(|reply| reply.metadata.response_code == ResponseCode::NotImp));
        assert!(ask(Some(&cell), "web.west.", |q| q.metadata.message_type = MessageType::Response).is_none());
        for garbage in [&b""[..], b"\0", &[255; 40]] {
            assert!(answer(Some(&cell), garbage, Carrier::Datagram).is_none());
        }
    }
}
