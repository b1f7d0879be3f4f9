//! Truth with the foreign drivers: psycopg 3, asyncpg, node-postgres and JDBC, each over IPv4, IPv6 and from another
//! network namespace.

use dbgov_tests::Result;
use dbgov_tests::drivers::{Driver, Target};
use dbgov_tests::netns::Netns;
use dbgov_tests::postgres::Options;
use dbgov_tests::truth::{Client, Params, Witness};

/// Statements a driver is asked for, and at least logs, per run.
const STATEMENTS: u32 = 1500;

/// Runs the driver's program as an application of its own.
fn play(driver: Driver, target: &Target, application: &str, params: Params) -> Result<Client> {
    let pid = driver.run(&target.clone().application(application), STATEMENTS)?;
    let client = Client::new(application, pid, &driver.interpreter())?;
    Ok(Client { params, ..client })
}

/// The same work three ways, one server, one comparison.
fn compare(driver: Driver, params: Params) -> Result<()> {
    let netns = Netns::joined_to_host()?;
    let witness = Witness::start(&Options {
        listen: vec!["*".to_string()],
        ..Options::default()
    })?;
    let server = &witness.server;
    let ways = [
        ("over-ipv4", server.target("127.0.0.1")),
        ("over-ipv6", server.target("::1")),
        (
            "from-netns4",
            server
                .target(&netns.peer_ipv4.to_string())
                .from(netns.place()),
        ),
        (
            "from-netns6",
            server
                .target(&netns.peer_ipv6.to_string())
                .from(netns.place()),
        ),
    ];
    let mut clients = Vec::new();
    for (application, target) in &ways {
        clients.push(play(driver, target, application, params)?);
    }
    let (report, _) = witness.finish(&clients)?;
    println!("{driver:?}: {}", report.figures());
    report.ensure(ways.len() * STATEMENTS as usize)
}

#[test]
fn psycopg() -> Result<()> {
    compare(Driver::Psycopg, Params::SameValue)
}

/// All of its parameters are binary.
#[test]
fn asyncpg() -> Result<()> {
    compare(Driver::Asyncpg, Params::AsLogged)
}

#[test]
fn node_postgres() -> Result<()> {
    compare(Driver::NodePostgres, Params::SameValue)
}

#[test]
fn jdbc() -> Result<()> {
    compare(Driver::Jdbc, Params::SameValue)
}
