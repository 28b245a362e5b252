"""The catalog: strict reading of a broker's list, and every spelling an alert may use for an instrument."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.core.enums import InstrumentKind
from bridge.core.errors import RefusedError
from bridge.core.instrument import Instrument
from bridge.core.reasons import RefusalCode
from bridge.market.dump_rows import COLUMNS, read_instruments
from bridge.market.instruments import MAX_REMEMBERED, Catalog
from bridge.market.listing import list_in_memory

HEADING = ",".join(COLUMNS)
TODAY = date(2026, 11, 20)
ROWS = """\
1,1,NIFTY 50,"NIFTY 50",0,,0,0,0,EQ,INDICES,NSE
2,2,NIFTY BANK,"NIFTY BANK",0,,0,0,0,EQ,INDICES,NSE
3,3,SENSEX,"SENSEX",0,,0,0,0,EQ,INDICES,BSE
10,10,SBIN,"STATE BANK OF INDIA",812.5,,0,0.05,1,EQ,NSE,NSE
11,11,M&M,"MAHINDRA & MAHINDRA",0,,0,0.1,1,EQ,NSE,NSE
12,12,BAJAJ-AUTO,"BAJAJ AUTO",0,,0,0.5,1,EQ,NSE,NSE
13,13,ITC,"ITC",0,,0,0.05,1,EQ,NSE,NSE
14,14,EMBASSY-RR,"EMBASSY OFFICE PARKS REIT",0,,,0.01,1,EQ,NSE,NSE
15,15,A-B,"HYPHEN",0,,0,0.05,1,EQ,NSE,NSE
16,16,A&B,"AMPERSAND",0,,0,0.05,1,EQ,NSE,NSE
17,17,C_D,"UNDERSCORE",0,,0,0.05,1,EQ,NSE,NSE
18,18,C-D,"HYPHEN TOO",0,,0,0.05,1,EQ,NSE,NSE
20,20,ITC,"ITC",0,,0,0.05,1,EQ,BSE,BSE
21,21,ONLYBSE,"LISTED IN MUMBAI ALONE",0,,0,0.05,1,EQ,BSE,BSE
30,30,NIFTY26NOVFUT,"NIFTY",0,2026-11-23,0,0.1,65,FUT,NFO-FUT,NFO
31,31,NIFTY26DECFUT,"NIFTY",0,2026-12-29,0,0.1,65,FUT,NFO-FUT,NFO
32,32,NIFTY27JANFUT,"NIFTY",0,2027-01-25,0,0.1,65,FUT,NFO-FUT,NFO
33,33,BANKNIFTY26NOVFUT,"BANKNIFTY",0,2026-11-23,0,0.2,30,FUT,NFO-FUT,NFO
34,34,SBIN26NOVFUT,"SBIN",0,2026-11-23,0,0.05,750,FUT,NFO-FUT,NFO
35,35,M&M26NOVFUT,"M&M",0,2026-11-23,0,0.1,200,FUT,NFO-FUT,NFO
36,36,NIFTY26NOV26000CE,"NIFTY",0,2026-11-23,26000,0.05,65,CE,NFO-OPT,NFO
37,37,NIFTY26NOV26000PE,"NIFTY",0,2026-11-23,26000.0,0.05,65,PE,NFO-OPT,NFO
38,38,NIFTY26D0126100CE,"NIFTY",0,2026-12-01,26100,0.05,65,CE,NFO-OPT,NFO
39,39,SBIN26NOV812.5CE,"SBIN",0,2026-11-23,812.5,0.05,750,CE,NFO-OPT,NFO
40,40,SENSEX26NOVFUT,"SENSEX",0,2026-11-26,0,0.2,20,FUT,BFO-FUT,BFO
50,50,CRUDEOIL26DECFUT,"CRUDEOIL",0,2026-12-18,0,1,1,FUT,MCX-FUT,MCX
51,51,GOLD26DECFUT,"GOLD",0,2026-12-04,0,1,100,FUT,MCX-FUT,MCX
52,52,MENTHAOIL26NOVFUT,"MENTHAOIL",0,2026-11-30,0,0.1,1,FUT,MCX-FUT,MCX
60,60,USDINR26NOVFUT,"USDINR",0,2026-11-26,0,0.0025,1,FUT,CDS-FUT,CDS
61,61,USDINR26NOVFUT,"USDINR",0,2026-11-26,0,0.0025,1,FUT,BCD-FUT,BCD
62,62,GOLD26DECFUT,"GOLD",0,2026-12-04,0,1,1,FUT,NCO-FUT,NCO
"""


class Today:
    """A day that a test can turn."""

    def __init__(self, day: date = TODAY) -> None:
        self.day = day

    def __call__(self) -> date:
        return self.day


def read(*rows: str) -> list[Instrument]:
    return read_instruments([HEADING, *rows], "list.csv")


def make_catalog(rows: Iterable[str] = ROWS.splitlines(), today: Today | None = None) -> Catalog:
    return Catalog(list_in_memory(read(*rows)), today or Today())


CATALOG = make_catalog()


def refuse(text: str, catalog: Catalog = CATALOG) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        catalog.resolve(text)
    assert caught.value.field == "symbol"
    assert caught.value.hint
    return caught.value


# --- exact symbols ---


def test_get_knows_exact_symbols_only():
    """`get` is for symbols of our own; it guesses nothing."""
    assert CATALOG.get("NSE:SBIN") is CATALOG.resolve("NSE:SBIN")
    assert CATALOG.get("SBIN") is None
    assert CATALOG.get("nse:sbin") is None


def test_row_becomes_an_instrument():
    """Every field of an option row arrives, exactly."""
    option = CATALOG.get("NFO:SBIN26NOV812.5CE")

    assert option == Instrument(
        symbol="NFO:SBIN26NOV812.5CE",
        exchange="NFO",
        tradingsymbol="SBIN26NOV812.5CE",
        name="SBIN",
        kind=InstrumentKind.CE,
        tick=Decimal("0.05"),
        lot=Decimal(750),
        expiry=date(2026, 11, 23),
        strike=Decimal("812.5"),
        token=39,
    )


def test_index_rows_are_indices_with_harmless_sizes():
    """The dump gives an index neither tick nor lot; it resolves, and risk denies it by its kind."""
    index = CATALOG.resolve("NSE:NIFTY 50")

    assert index.kind is InstrumentKind.INDEX
    assert (index.tick, index.lot, index.expiry, index.strike) == (Decimal("0.05"), Decimal(1), None, None)


def test_shares_with_futures_are_marked():
    """Their sessions differ; an index or a share without futures is not marked."""
    marked = {i.symbol for i in CATALOG if i.has_derivatives}

    assert marked == {"NSE:SBIN", "NSE:M&M"}


def test_share_is_marked_on_both_exchanges():
    """The closing auction is held on every exchange that lists a share with futures."""
    rows = [*ROWS.splitlines(), '70,70,SBIN,"STATE BANK OF INDIA",0,,0,0.05,1,EQ,BSE,BSE']

    assert {i.symbol for i in make_catalog(rows) if i.has_derivatives} == {"NSE:SBIN", "BSE:SBIN", "NSE:M&M"}


def test_catalog_counts_and_iterates():
    """Pages and the sync want all of them; contracts of unknown size are left out."""
    assert len(CATALOG) == len(list(CATALOG)) == len(ROWS.splitlines()) - 2


# --- spellings ---


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("NSE:SBIN", "NSE:SBIN"),
        ("nse:sbin", "NSE:SBIN"),
        ("  NSE:SBIN ", "NSE:SBIN"),
        ("NSE : SBIN", "NSE:SBIN"),
        ("SBIN", "NSE:SBIN"),
        ("sbin", "NSE:SBIN"),
        ("ONLYBSE", "BSE:ONLYBSE"),
        ("BSE:ITC", "BSE:ITC"),
        ("NSE:ITC", "NSE:ITC"),
        # the three characters TradingView writes as one
        ("NSE:BAJAJ_AUTO", "NSE:BAJAJ-AUTO"),
        ("NSE:BAJAJ-AUTO", "NSE:BAJAJ-AUTO"),
        ("NSE:BAJAJ&AUTO", "NSE:BAJAJ-AUTO"),
        ("bajaj_auto", "NSE:BAJAJ-AUTO"),
        ("NSE:M_M", "NSE:M&M"),
        ("NSE:M&M", "NSE:M&M"),
        ("M-M", "NSE:M&M"),
        ("NSE:EMBASSY.RR", "NSE:EMBASSY-RR"),
        ("NSE:A-B", "NSE:A-B"),
        ("NSE:A&B", "NSE:A&B"),
        ("NSE:C_D", "NSE:C_D"),
        # indices
        ("NSE:NIFTY", "NSE:NIFTY 50"),
        ("NIFTY", "NSE:NIFTY 50"),
        ("NSE:BANKNIFTY", "NSE:NIFTY BANK"),
        ("BSE:SENSEX", "BSE:SENSEX"),
        ("SENSEX", "BSE:SENSEX"),
        # the broker's own symbols of derivatives, with and without TradingView's exchange
        ("NFO:NIFTY26NOVFUT", "NFO:NIFTY26NOVFUT"),
        ("NSE:NIFTY26NOVFUT", "NFO:NIFTY26NOVFUT"),
        ("NIFTY26NOVFUT", "NFO:NIFTY26NOVFUT"),
        ("NSE:NIFTY26D0126100CE", "NFO:NIFTY26D0126100CE"),
        ("NSE:M_M26NOVFUT", "NFO:M&M26NOVFUT"),
        ("BSE:SENSEX26NOVFUT", "BFO:SENSEX26NOVFUT"),
        # TradingView's continuous futures
        ("NSE:NIFTY1!", "NFO:NIFTY26NOVFUT"),
        ("NIFTY1!", "NFO:NIFTY26NOVFUT"),
        ("NFO:NIFTY1!", "NFO:NIFTY26NOVFUT"),
        ("NSE:NIFTY2!", "NFO:NIFTY26DECFUT"),
        ("NSE:NIFTY3!", "NFO:NIFTY27JANFUT"),
        ("NSE:BANKNIFTY1!", "NFO:BANKNIFTY26NOVFUT"),
        ("NSE:M_M1!", "NFO:M&M26NOVFUT"),
        ("NSE:M&M1!", "NFO:M&M26NOVFUT"),
        ("BSE:SENSEX1!", "BFO:SENSEX26NOVFUT"),
        ("MCX:CRUDEOIL1!", "MCX:CRUDEOIL26DECFUT"),
        ("CRUDEOIL1!", "MCX:CRUDEOIL26DECFUT"),
        ("NSE:USDINR1!", "CDS:USDINR26NOVFUT"),
        ("BSE:USDINR1!", "BCD:USDINR26NOVFUT"),
        # dated futures
        ("NSE:NIFTYX2026", "NFO:NIFTY26NOVFUT"),
        ("NIFTYZ2026", "NFO:NIFTY26DECFUT"),
        ("NSE:NIFTYF2027", "NFO:NIFTY27JANFUT"),
        ("MCX:GOLDZ2026", "MCX:GOLD26DECFUT"),
        # options
        ("NSE:NIFTY261123C26000", "NFO:NIFTY26NOV26000CE"),
        ("NIFTY261123P26000", "NFO:NIFTY26NOV26000PE"),
        ("NSE:NIFTY261123P26000.0", "NFO:NIFTY26NOV26000PE"),
        ("NSE:NIFTY261201C26100", "NFO:NIFTY26D0126100CE"),
        ("NSE:SBIN261123C812.5", "NFO:SBIN26NOV812.5CE"),
    ],
)
def test_spelling_resolves(text, symbol):
    """Each way to write an instrument leads to it, twice alike."""
    assert CATALOG.resolve(text).symbol == symbol
    assert CATALOG.resolve(text).symbol == symbol


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ITC", ("NSE:ITC", "BSE:ITC")),
        ("NSE:A_B", ("NSE:A-B", "NSE:A&B")),
        ("A_B", ("NSE:A-B", "NSE:A&B")),
        ("NSE:C&D", ("NSE:C_D", "NSE:C-D")),
        ("USDINR1!", ("CDS:USDINR26NOVFUT", "BCD:USDINR26NOVFUT")),
    ],
)
def test_ambiguous_spelling_is_refused_naming_both(text, names):
    """Never a choice of ours between two instruments."""
    error = refuse(text)

    assert error.code is RefusalCode.E_SYMBOL
    assert all(name in error.message for name in names)
    assert "{{exchange}}:{{ticker}}" in str(error.hint)


@pytest.mark.parametrize(
    "text",
    ["NIFTY", "BANKNIFTY", "NIFTY1!", "BANKNIFTY1!", "NSE:NIFTYX2026", "NSE:BANKNIFTYX2026", "NIFTY261123C26000"],
)
def test_banknifty_is_never_nifty(text):
    """Whole names are compared, never parts of them."""
    found = CATALOG.resolve(text)

    assert (found.name in ("BANKNIFTY", "NIFTY BANK")) is ("BANK" in text)


@pytest.mark.parametrize(
    "text",
    [
        "NSE:BANKNIFTY261123C26000",
        "NSE:ANIFTY1!",
        "NSE:NIFT1!",
        "NSE:NIFTY11!",
        "NSE:IFTYX2026",
        "NSE:BIN",
        "NSE:SBINX",
    ],
)
def test_part_of_a_name_matches_nothing(text):
    """Neither a prefix nor a suffix of a listed name resolves."""
    assert refuse(text).code is RefusalCode.E_SYMBOL


def test_contracts_of_names_that_fold_alike_need_the_exact_name():
    """M&M and M-M would both be M_M: then only the exact spelling is taken."""
    rows = [*ROWS.splitlines(), '80,80,M-M26NOVFUT,"M-M",0,2026-11-23,0,0.1,200,FUT,NFO-FUT,NFO']
    catalog = make_catalog(rows)

    assert catalog.resolve("NSE:M-M1!").symbol == "NFO:M-M26NOVFUT"
    assert catalog.resolve("NSE:M&M1!").symbol == "NFO:M&M26NOVFUT"
    refuse("NSE:M_M1!", catalog)


# --- the day matters ---


def test_front_month_rolls_after_the_expiry_day():
    """On its last day the contract is still the front month; the day after, the next one is. Nothing is remembered."""
    today = Today(date(2026, 11, 23))
    catalog = make_catalog(today=today)

    assert catalog.resolve("NSE:NIFTY1!").symbol == "NFO:NIFTY26NOVFUT"
    today.day = date(2026, 11, 24)
    assert catalog.resolve("NSE:NIFTY1!").symbol == "NFO:NIFTY26DECFUT"
    assert catalog.resolve("NSE:NIFTY2!").symbol == "NFO:NIFTY27JANFUT"
    assert "2026-12-29, 2027-01-25" in str(refuse("NSE:NIFTY3!", catalog).hint)


def test_expired_contracts_are_still_known_by_their_own_names():
    """A position may outlive its contract's last day; risk denies new orders in it."""
    catalog = make_catalog(today=Today(date(2027, 6, 1)))

    assert catalog.resolve("NSE:NIFTYX2026").symbol == "NFO:NIFTY26NOVFUT"
    assert "synced" in str(refuse("NSE:NIFTY1!", catalog).hint)


def test_two_futures_in_one_month_are_ambiguous():
    """Weekly futures exist: the month alone does not say which."""
    rows = [*ROWS.splitlines(), '81,81,USDINR26N20FUT,"USDINR",0,2026-11-20,0,0.0025,1,FUT,CDS-FUT,CDS']
    error = refuse("CDS:USDINRX2026", make_catalog(rows))

    assert "CDS:USDINR26NOVFUT and CDS:USDINR26N20FUT" in error.message


# --- refusals and their hints ---


@pytest.mark.parametrize("text", ["NSE_DLY:SBIN", "NSE_DL:SBIN", "nse_dly:NIFTY1!", "BSE_DLY:ITC"])
def test_delayed_data_must_not_trade(text):
    """TradingView's delayed exchanges are minutes behind."""
    error = refuse(text)

    assert error.code is RefusalCode.E_UNSUPPORTED
    assert "elayed data must not trade" in str(error.hint)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("NSE:SBNI", "NSE:SBIN"),
        ("SBINN", "NSE:SBIN"),
        ("BSIN", "NSE:SBIN"),
        ("NSE:BAJAJAUTO", "NSE:BAJAJ-AUTO"),
        ("BSE:ONLYBS", "BSE:ONLYBSE"),
        ("NSE:BANKNFTY", "NFO:BANKNIFTY1!"),
        ("NSE:NIFTZ1!", "NIFTY1!"),
        ("NSE:BANKNIFTIX2026", "BANKNIFTYX2026"),
        ("MCX:CRUDEOIL", "MCX:CRUDEOIL1!"),
        ("NSE:NIFTY4!", "2026-11-23, 2026-12-29, 2027-01-25. Near it: NIFTY3!, NIFTY2!, NIFTY1!."),
        ("NSE:NIFTYG2027", "2026-11-23, 2026-12-29, 2027-01-25. Near it: NIFTYF2027, NIFTYZ2026, NIFTYX2026."),
        ("NSE:NIFTY261124C26000", "2026-11-23, 2026-12-01. Near it: NIFTY261123C26000."),
        ("NSE:NIFTY261123C26050", "26000"),
        ("BINANCE:BTCUSDT", "BCD, BFO, BSE, CDS, MCX, NFO, NSE"),
        ("NSE:QQQQQQQQQQ", "like NSE:SBIN"),
        ("NSE:", "like NSE:SBIN"),
        (":SBIN", None),
    ],
)
def test_hint_shows_the_way(text, hint):
    """Near matches, the listed expiries or strikes, the known exchanges: whichever helps."""
    if hint is None:
        assert CATALOG.resolve(text).symbol == "NSE:SBIN"
        return
    error = refuse(text)

    assert error.code is RefusalCode.E_SYMBOL
    assert hint in str(error.hint)


def test_at_most_three_near_matches():
    """A hint is a sentence, not a list."""
    rows = [f'{n},{n},STOCK{n},"S",0,,0,0.05,1,EQ,NSE,NSE' for n in range(1, 10)]

    assert str(refuse("NSE:STOCK", make_catalog(rows)).hint).count("NSE:STOCK") == 3


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n", "₹", "NSE:ＳＢＩＮ", "NSE:SBIN\x00", "NSE:SB\tIN", "X" * 65, "NSE:" + "1" * 10_000, "NSE:५1!"],
)
def test_text_that_is_no_symbol(text):
    """Empty, too long, or not printable ASCII; the answer stays short."""
    error = refuse(text)

    assert error.code is RefusalCode.E_SYMBOL
    assert len(error.message) < 300


@pytest.mark.parametrize("text", ["MCX:MENTHAOIL26NOVFUT", "MENTHAOIL26NOVFUT", "NCO:GOLD26DECFUT"])
def test_contract_of_unknown_size_is_refused(text):
    """Without rupees per point no limit can hold, so it does not trade; what is missing denies."""
    error = refuse(text)

    assert error.code is RefusalCode.E_UNSUPPORTED
    assert "size of one lot" in error.message
    assert CATALOG.get("MCX:MENTHAOIL26NOVFUT") is None


def test_multiplier_is_rupees_per_point_and_unit():
    """The dump's lot of a commodity is 1 (or its size): the multiplier makes up for what the lot hides."""
    assert CATALOG.resolve("MCX:CRUDEOIL1!").multiplier == 100
    assert CATALOG.resolve("MCX:GOLD1!").multiplier * CATALOG.resolve("MCX:GOLD1!").lot == 100
    assert CATALOG.resolve("CDS:USDINR1!").multiplier == 1000
    assert CATALOG.resolve("NSE:NIFTY1!").multiplier == 1
    assert CATALOG.resolve("NSE:SBIN").multiplier == 1


# --- never anything but a refusal; bounded ---


SHAPES = st.one_of(
    st.text(max_size=80),
    st.text(alphabet="NSEFOBCDMX:&-._!0123456789IT ", max_size=40),
    st.builds("{}:{}{}".format, st.sampled_from(["NSE", "BSE", "NFO", "MCX", "nse", ""]), st.text(max_size=8), st.text()),
    st.from_regex(r"(NSE:)?[A-Z&_-]{1,12}([FGHJKMNQUVXZ]20\d\d|[0-9]!|\d{6}[CP]\d{1,12}(\.\d{1,6})?)", fullmatch=True),
)


@given(text=SHAPES)
@example("NSE:NIFTY269999C1")
@example("NSE:NIFTY260230P26000")
@example("NSE:1!")
@example("!")
@example(":")
@example("::::")
def test_any_text_is_an_instrument_or_a_refusal(text):
    """`resolve` has no third way out: a hit is in the list, a refusal names the field and a mend."""
    refusal = None
    try:
        found = CATALOG.resolve(text)
        assert CATALOG.get(found.symbol) is found
    except RefusedError as error:
        refusal = error
    if refusal is None:
        return
    assert refusal.code in (RefusalCode.E_SYMBOL, RefusalCode.E_UNSUPPORTED)
    assert refusal.field == "symbol"
    assert refusal.hint


@given(symbol=st.sampled_from([i.symbol for i in CATALOG]), data=st.data())
def test_case_and_fold_never_change_the_instrument(symbol, data):
    """Any mixture of cases resolves to the same instrument."""
    mixed = "".join(data.draw(st.sampled_from([c.lower(), c.upper()])) for c in symbol)

    assert CATALOG.resolve(mixed).symbol == symbol


def test_remembered_spellings_are_bounded():
    """A sender with endless spellings does not grow the process."""
    catalog = make_catalog()
    for number in range(12_000):
        mixed = "".join(c.lower() if number >> i & 1 else c for i, c in enumerate("NSEBAJAJ_AUTO"))
        catalog.resolve(f"{' ' * (number % 3)}{mixed[:3]}:{mixed[3:]}")

    assert 0 < len(catalog._shelf.fixed) <= MAX_REMEMBERED
