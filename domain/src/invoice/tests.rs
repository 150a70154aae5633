//! The invoice's lifecycle, story by story, and at random.

use super::*;
use crate::asset::Asset;
use crate::chance::Chance;

const EXPIRES: i64 = 1_000;
const WATCHED: i64 = EXPIRES + MONITORING_MS;

fn invoice(due: u128, tolerance_bps: u32) -> Invoice {
    let asset = Asset::parse("ETH").expect("listed");
    let terms = Terms {
        id: "inv_1".into(),
        merchant: "usr_m".into(),
        order_id: None,
        price: Price { currency: asset, amount: Amount::new(due) },
        due: Money::new(asset, Amount::new(due)),
        rate: None,
        tolerance_bps,
        chain: 1,
        address: "0x".into(),
        created_ms: 0,
        expires_ms: EXPIRES,
        metadata: Map::new(),
    };
    Invoice::open(terms).0
}

fn seen(units: u128) -> Payment {
    Payment { amount: Amount::new(units), is_confirmed: false, is_late: false }
}

fn confirmed(units: u128) -> Payment {
    Payment { is_confirmed: true, ..seen(units) }
}

fn late(units: u128) -> Payment {
    Payment { is_late: true, ..confirmed(units) }
}

/// Plays looks at the chain, and returns the last stage with all facts.
fn play(invoice: Invoice, looks: &[(i64, &[Payment])]) -> (Invoice, Vec<Effect>) {
    let mut told = Vec::new();
    let last = looks.iter().fold(invoice, |invoice, (now_ms, payments)| {
        let happening = Happening { payments: payments.to_vec(), now_ms: *now_ms };
        let (invoice, effects) = invoice.decide(&happening).expect("fits");
        told.extend(effects);
        invoice
    });
    (last, told)
}

fn check(looks: &[(i64, &[Payment])], stage: &str, told: &[Effect], additional: &[Additional]) {
    let (invoice, effects) = play(invoice(100, 0), looks);
    assert_eq!((invoice.stage.label(), effects.as_slice()), (stage, told));
    assert_eq!(invoice.additional(), additional);
}

// promise: DOMAIN: New → Processing (paid in full) → Paid (enough confirmations)
#[test]
fn an_invoice_is_paid_when_enough_is_confirmed() {
    check(&[(1, &[seen(100)]), (2, &[confirmed(100)])], "paid", &[Effect::Processing, Effect::Paid], &[]);
}

#[test]
fn who_is_paid_at_once_was_processing_first() {
    check(&[(1, &[confirmed(100)])], "paid", &[Effect::Processing, Effect::Paid], &[]);
}

#[test]
fn two_parts_are_one_payment() {
    let looks: [(i64, &[Payment]); 2] = [(1, &[confirmed(40)]), (2, &[confirmed(40), confirmed(60)])];
    check(&looks, "paid", &[Effect::Processing, Effect::Paid], &[]);
}

#[test]
fn a_part_is_not_enough_and_expires() {
    check(&[(1, &[confirmed(99)])], "new", &[], &[Additional::PaidPartial]);
    check(
        &[(1, &[confirmed(99)]), (EXPIRES, &[confirmed(99)])],
        "expired",
        &[Effect::Expired],
        &[Additional::PaidPartial],
    );
}

#[test]
fn more_than_due_is_paid_and_said() {
    check(&[(1, &[confirmed(101)])], "paid", &[Effect::Processing, Effect::Paid], &[Additional::PaidOver]);
}

// promise: DOMAIN: money that arrives late, short or over is always credited and said
#[test]
fn late_money_does_not_pay_but_is_said() {
    check(&[(EXPIRES, &[]), (EXPIRES + 1, &[late(100)])], "expired", &[Effect::Expired], &[Additional::PaidLate]);
    let two: [(i64, &[Payment]); 1] = [(EXPIRES, &[seen(30), late(90)])];
    check(&two, "expired", &[Effect::Expired], &[Additional::PaidOver, Additional::PaidLate]);
}

#[test]
fn money_seen_in_time_is_confirmed_after_expiry() {
    let looks: [(i64, &[Payment]); 2] = [(EXPIRES - 1, &[seen(100)]), (EXPIRES + 5, &[confirmed(100)])];
    check(&looks, "paid", &[Effect::Processing, Effect::Paid], &[]);
}

// promise: DOMAIN: Processing → New when a payment vanished
#[test]
fn a_vanished_payment_makes_it_new_again_or_expired() {
    check(&[(1, &[seen(100)]), (2, &[])], "new", &[Effect::Processing], &[]);
    check(&[(1, &[seen(100)]), (EXPIRES, &[])], "expired", &[Effect::Processing, Effect::Expired], &[]);
}

// promise: DOMAIN: → Invalid (not confirmed in time); monitoring goes on for a day after expiry
#[test]
fn what_is_not_confirmed_within_a_day_after_expiry_is_invalid() {
    check(&[(1, &[seen(100)]), (WATCHED - 1, &[seen(100)])], "processing", &[Effect::Processing], &[]);
    check(&[(1, &[seen(100)]), (WATCHED, &[seen(100)])], "invalid", &[Effect::Processing, Effect::Invalid], &[]);
}

// promise: DOMAIN: a block reorganised away after it was paid says payment.invoice.reverted
#[test]
fn a_paid_invoice_whose_payment_vanishes_is_reverted() {
    let told = [Effect::Processing, Effect::Paid, Effect::Reverted];
    check(&[(1, &[confirmed(100)]), (2, &[])], "new", &told, &[]);
    let again = [told[0], told[1], told[2], Effect::Processing, Effect::Paid];
    check(&[(1, &[confirmed(100)]), (2, &[seen(100)]), (3, &[confirmed(100)])], "paid", &again, &[]);
    let late = [told[0], told[1], told[2], Effect::Expired];
    check(&[(1, &[confirmed(100)]), (EXPIRES, &[])], "expired", &late, &[]);
}

// promise: DOMAIN: tolerance in basis points
#[test]
fn tolerance_lets_a_little_less_be_enough() {
    let (paid, _) = play(invoice(10_001, 100), &[(1, &[confirmed(9_901)])]);
    assert_eq!((paid.stage.label(), paid.additional()), ("paid", vec![]));
    let (short, _) = play(invoice(10_001, 100), &[(1, &[confirmed(9_900)])]);
    assert_eq!(short.stage.label(), "new");
    assert!(invoice(u128::MAX, 5_000).terms.enough() > Amount::new(u128::MAX / 2));
}

#[test]
fn payments_beyond_128_bits_are_refused() {
    let happening = Happening { payments: vec![seen(u128::MAX), late(1)], now_ms: 1 };
    assert_eq!(invoice(100, 0).decide(&happening), Err(InvoiceRefusal::OutOfRange));
}

#[test]
fn a_payment_is_late_by_its_block_or_because_the_expiry_was_told() {
    let open = invoice(100, 0);
    assert!(!open.is_late(EXPIRES - 1) && open.is_late(EXPIRES));
    let (expired, _) = play(open, &[(EXPIRES, &[])]);
    assert!(expired.is_late(EXPIRES - 1));
}

#[test]
fn whatever_happens_the_facts_tell_the_stage() {
    let mut chance = Chance::new("whatever_happens_the_facts_tell_the_stage");
    for round in 0..1_000 {
        let (mut invoice, mut heard, mut now_ms) = (invoice(100, 0), None, 0);
        for _ in 0..12 {
            now_ms += [1, 100, 1_000, MONITORING_MS][chance.below(4)];
            let kinds = [seen, confirmed, late];
            let payments = (0..chance.below(4)).map(|_| kinds[chance.below(3)](chance.below(120) as u128)).collect();
            let (next, effects) = invoice.decide(&Happening { payments, now_ms }).expect("fits");
            heard = effects.last().copied().or(heard);
            let expected = match heard {
                None | Some(Effect::Created) => "new",
                Some(Effect::Processing) => "processing",
                Some(Effect::Paid) => "paid",
                Some(Effect::Expired) => "expired",
                Some(Effect::Invalid) => "invalid",
                Some(Effect::Reverted) => "new",
            };
            let vanished = heard == Some(Effect::Processing) && next.stage == Stage::New;
            assert!(vanished || next.stage.label() == expected, "round {round}: {heard:?} but {:?}", next.stage);
            assert_eq!(next.due_ms().is_some(), matches!(next.stage, Stage::New | Stage::Processing));
            invoice = next;
        }
    }
}
