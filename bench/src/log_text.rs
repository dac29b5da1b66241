//! Log text as a few busy services write it, the same for the same seed.
//! A seed and a size -> lines in the daemon's own layout.
//! Invariant: what makes real logs hard to press is there: times, ids, sizes, durations, names.
//! Leaves out: real logs, which nobody may publish.
//!
//! A day of a web shop: requests, queries, cache, jobs, payments, logins,
//! warnings, tracebacks. Some hundred visitors are there at a time; each
//! comes from an address of his own, asks for some pages, and leaves for good.
//! A few goods are asked for often, most hardly ever. Ids and durations are
//! random. The more visitors and goods, the farther back lies what repeats
//! itself, and the more is lost where a text is pressed block by block.

use std::io::{self, Write};

const HOSTS: [&str; 7] = ["web01", "web02", "web03", "web04", "api01", "worker01", "worker02"];

const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
    "shop-app/7.12.3 (Android 16; Pixel 9)",
    "python-requests/2.32.5",
];

const SECTIONS: [&str; 12] = [
    "products",
    "cart",
    "orders",
    "account",
    "search",
    "images",
    "reviews",
    "checkout",
    "api/v2/items",
    "api/v2/prices",
    "api/v2/stock",
    "static/js",
];

const TABLES: [&str; 8] =
    ["orders", "order_items", "customers", "prices", "stock", "sessions", "reviews", "invoices"];

const MODULES: [&str; 9] = [
    "shop.cart.views",
    "shop.checkout.payment",
    "shop.search.index",
    "shop.mail.send",
    "shop.stock.reserve",
    "shop.account.session",
    "shop.pricing.rules",
    "shop.export.feed",
    "shop.images.resize",
];

const ERRORS: [(&str, &str); 5] = [
    ("KeyError", "'customer_id'"),
    ("ConnectionResetError", "[Errno 104] Connection reset by peer"),
    ("TimeoutError", "the read operation timed out"),
    ("ValueError", "could not convert string to float: ''"),
    ("django.db.utils.OperationalError", "deadlock detected"),
];

/// How busy the shop is.
#[derive(Clone, Copy, Debug)]
pub struct Trade {
    /// Visitors that are there at a time.
    pub visitors: u64,
    /// Goods in the shop.
    pub items: u64,
}

/// Writes lines, at least `bytes` of them together.
///
/// # Errors
/// What `out` says.
pub fn write(trade: Trade, seed: u64, bytes: u64, out: &mut dyn Write) -> io::Result<u64> {
    let mut shop = Shop::new(trade, seed);
    let mut written = 0;
    while written < bytes {
        shop.text.clear();
        shop.event();
        out.write_all(shop.text.as_bytes())?;
        written += shop.text.len() as u64;
    }
    Ok(written)
}

struct Shop {
    trade: Trade,
    random: Random,
    /// The time, in microseconds since midnight.
    now_us: u64,
    job: u64,
    order: u64,
    visitors: Vec<Visitor>,
    text: String,
}

#[derive(Clone, Copy)]
struct Visitor {
    address: u64,
    agent: &'static str,
    customer: u64,
}

macro_rules! put {
    ($shop:expr, $($what:tt)*) => {{
        use std::fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = write!($shop.text, $($what)*);
    }};
}

impl Shop {
    fn new(trade: Trade, seed: u64) -> Shop {
        Shop {
            trade,
            random: Random(seed),
            now_us: 0,
            job: 8_812_001,
            order: 50_311_882,
            visitors: Vec::new(),
            text: String::new(),
        }
    }

    /// One of those who are there; one in twenty has just come.
    fn visitor(&mut self) -> Visitor {
        let r = &mut self.random;
        let place = r.below(self.trade.visitors) as usize;
        if place >= self.visitors.len() || r.below(20) == 0 {
            let agent = AGENTS[r.often_small(AGENTS.len() as u64) as usize];
            let new = Visitor {
                address: r.next() & 0xffff_ffff,
                agent,
                customer: 1_000_000 + r.below(900_000),
            };
            match self.visitors.get_mut(place) {
                Some(visitor) => *visitor = new,
                None => self.visitors.push(new),
            }
            return new;
        }
        self.visitors[place]
    }

    fn event(&mut self) {
        let r = &mut self.random;
        let pause_us = r.up_to_bits(1, 15);
        self.now_us += pause_us;
        let host = HOSTS[r.often_small(HOSTS.len() as u64) as usize];
        match r.below(1000) {
            0..=379 => self.request(host),
            380..=539 => self.query(host),
            540..=659 => self.cache(host),
            660..=759 => self.job(host),
            760..=829 => self.stock(host),
            830..=889 => self.health(host),
            890..=939 => self.login(host),
            940..=969 => self.payment(host),
            970..=993 => self.warning(host),
            _ => self.traceback(host),
        }
    }

    /// The beginning of every line: time and host.
    fn head(&mut self, host: &str) {
        let us = self.now_us % 1_000_000;
        let s = self.now_us / 1_000_000;
        put!(
            self,
            "2026-11-{:02} {:02}:{:02}:{:02}.{us:06} - {host}.shop.example - ",
            20 + s / 86_400 % 10,
            s / 3600 % 24,
            s / 60 % 60,
            s % 60
        );
    }

    fn request(&mut self, host: &str) {
        self.head(host);
        let Visitor { address, agent, .. } = self.visitor();
        let r = &mut self.random;
        let section = SECTIONS[r.often_small(SECTIONS.len() as u64) as usize];
        let item = r.often_small(self.trade.items);
        let method = ["GET", "GET", "GET", "GET", "POST", "PUT"][r.below(6) as usize];
        let status = [200, 200, 200, 200, 200, 304, 304, 302, 404, 500][r.below(10) as usize];
        let size = if status == 304 { 0 } else { 180 + r.up_to_bits(6, 15) };
        let (took_ms, id) = (r.duration_ms(), r.next());
        put!(
            self,
            "INFO  [shop.access] {}.{}.{}.{} \"{method} /{section}/{item} HTTP/1.1\" {status} {size} {took_ms:.3} \"{agent}\" rid={:012x}\n",
            address >> 24,
            address >> 16 & 255,
            address >> 8 & 255,
            address & 255,
            id >> 16
        );
    }

    fn query(&mut self, host: &str) {
        self.head(host);
        let Visitor { customer, .. } = self.visitor();
        let r = &mut self.random;
        let table = TABLES[r.often_small(TABLES.len() as u64) as usize];
        let (rows, took_ms) = (r.often_small(500), r.duration_ms());
        match r.below(3) {
            0 => put!(
                self,
                "DEBUG [shop.db] SELECT id, state, changed_at FROM {table} WHERE customer_id = {customer} ORDER BY changed_at DESC LIMIT 50 -- {rows} rows in {took_ms:.2} ms\n"
            ),
            1 => put!(
                self,
                "DEBUG [shop.db] UPDATE {table} SET state = 'open', version = version + 1 WHERE id = {} -- {took_ms:.2} ms\n",
                customer * 7
            ),
            _ => put!(
                self,
                "DEBUG [shop.db] INSERT INTO {table} (customer_id, amount, currency) VALUES ({customer}, {}.{:02}, 'EUR') -- {took_ms:.2} ms\n",
                3 + rows,
                rows % 100
            ),
        }
    }

    fn cache(&mut self, host: &str) {
        self.head(host);
        let r = &mut self.random;
        let (item, bytes) = (r.often_small(self.trade.items), 200 + r.below(9000));
        let what = ["hit", "hit", "hit", "hit", "miss", "stored", "expired"][r.below(7) as usize];
        put!(self, "DEBUG [shop.cache] {what} item:{item}:de bytes={bytes}\n");
    }

    fn job(&mut self, host: &str) {
        self.head(host);
        let r = &mut self.random;
        let module = MODULES[r.often_small(MODULES.len() as u64) as usize];
        let (took_ms, attempt) = (r.duration_ms() * 40.0, 1 + r.often_small(4));
        self.job += r.below(4);
        let job = self.job;
        match r.below(2) {
            0 => put!(
                self,
                "INFO  [{module}] job {job} taken from queue 'default', attempt {attempt} of 5\n"
            ),
            _ => put!(self, "INFO  [{module}] job {job} done in {took_ms:.0} ms\n"),
        }
    }

    fn stock(&mut self, host: &str) {
        self.head(host);
        let r = &mut self.random;
        let (item, left, house) = (r.often_small(self.trade.items), r.below(400), r.below(9));
        put!(
            self,
            "INFO  [shop.stock.reserve] item {item} in house H{house}: reserved {}, left {left}\n",
            1 + left % 3
        );
    }

    fn health(&mut self, host: &str) {
        self.head(host);
        let took_ms = self.random.below(90);
        put!(
            self,
            "INFO  [shop.access] 10.0.0.5 \"GET /health HTTP/1.1\" 200 2 0.0{took_ms:02} \"kube-probe/1.33\"\n"
        );
    }

    fn login(&mut self, host: &str) {
        self.head(host);
        let Visitor { customer, address, .. } = self.visitor();
        let r = &mut self.random;
        let session = r.next();
        let what = if r.below(12) == 0 { "refused: wrong password" } else { "accepted" };
        put!(
            self,
            "INFO  [shop.account.session] login of customer{customer}@mail.example from {}.{}.{}.{} {what}, session {session:016x}\n",
            address >> 24,
            address >> 16 & 255,
            address >> 8 & 255,
            address & 255
        );
    }

    fn payment(&mut self, host: &str) {
        self.head(host);
        let r = &mut self.random;
        self.order += 1 + r.below(3);
        let (order, cents, id) = (self.order, 199 + r.up_to_bits(7, 15), r.next());
        put!(
            self,
            "INFO  [shop.checkout.payment] {{\"order\": {order}, \"amount\": {}.{:02}, \"currency\": \"EUR\", \"method\": \"card\", \"state\": \"captured\", \"reference\": \"{:08x}-{:04x}\"}}\n",
            cents / 100,
            cents % 100,
            id >> 32,
            id & 0xffff
        );
    }

    fn warning(&mut self, host: &str) {
        self.head(host);
        let r = &mut self.random;
        let module = MODULES[r.often_small(MODULES.len() as u64) as usize];
        let (took_ms, depth) = (r.duration_ms() * 90.0, r.below(600));
        match r.below(3) {
            0 => put!(
                self,
                "WARNING [{module}] slow answer from http://prices.internal:8080/v1/quote: {took_ms:.0} ms\n"
            ),
            1 => put!(
                self,
                "WARNING [{module}] queue 'default' holds {depth} jobs, the oldest waits for {took_ms:.0} ms\n"
            ),
            _ => put!(
                self,
                "WARNING [{module}] retrying in {} s: connection to 10.0.3.{}:6379 lost\n",
                1 << (depth % 6),
                depth % 250
            ),
        }
    }

    fn traceback(&mut self, host: &str) {
        self.head(host);
        let r = &mut self.random;
        let (error, why) = ERRORS[r.often_small(ERRORS.len() as u64) as usize];
        let module = MODULES[r.often_small(MODULES.len() as u64) as usize];
        let (id, depth) = (r.next(), 3 + r.below(9));
        put!(self, "ERROR [{module}] request {:012x} failed\n", id >> 16);
        put!(self, "\tTraceback (most recent call last):\n");
        for frame in 0..depth {
            let module = MODULES[((id >> 20) + frame * frame) as usize % MODULES.len()];
            let line = 10 + ((id >> 24) % 5 + 1) * (frame + 3) * 17 % 600;
            put!(
                self,
                "\t  File \"/srv/shop/lib/python3.13/site-packages/{}.py\", line {line}, in {}\n",
                module.replace('.', "/"),
                ["dispatch", "get_response", "inner", "execute", "apply"]
                    [(frame + id % 3) as usize % 5]
            );
            put!(
                self,
                "\t    return self.{}(request, *args, **kwargs)\n",
                ["handle", "call_next", "run", "process"][frame as usize % 4]
            );
        }
        put!(self, "\t{error}: {why}\n");
    }
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
/// generators, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number of any length: as many bits as `from` to `to`.
    fn up_to_bits(&mut self, from: u64, to: u64) -> u64 {
        let bits = from + self.below(to - from + 1);
        self.below(1 << bits)
    }

    /// Small numbers often, large ones seldom (Zipf's law with exponent 1,
    /// about), scattered over the range so that they do not look small.
    fn often_small(&mut self, end: u64) -> u64 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = (end as f64).powf(unit) - 1.0;
        (rank as u64).wrapping_mul(7919) % end
    }

    fn duration_ms(&mut self) -> f64 {
        let scale = [0.5, 2.0, 8.0, 40.0, 300.0][self.often_small(5) as usize];
        scale * (0.3 + (self.next() >> 11) as f64 / (1_u64 << 53) as f64)
    }
}
