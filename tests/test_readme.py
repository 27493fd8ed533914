"""What README says is so: its tables are the code's, its examples load, each sentence has its tests.

The second half holds the sentences, and the names of metrics and status keys, that no other file proves.
"""

from __future__ import annotations

import argparse
import ast
import errno
import inspect
import os
import re
import signal
import tomllib
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import msgspec
import pytest
import trio
import trio.lowlevel
from conftest import EnterFront
from harness.fronts import CoreFront, MountFront, cat, mount_front, settle
from harness.rig import PATIENCE_S, Hands, open_rig
from harness.world import BYTES, CHICAGO, HOUR, NAMES, call, epoch_s

from voxofs import callers, cli, config, errors, fuse, metrics, mount_words, record
from voxofs.simulator import Fault, FixedTenant
from voxofs.status import Status

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {path: path.read_text() for path in (ROOT / "README.md", ROOT / "docs/design.md")}

PROOFS: dict[str, str] = {
    "T1": "functional::the_calendar_asks_nobody core_time::the_future_begins_at_midnight_in_chicago",
    "T2": "functional::entries_are_sorted_by_name",
    "T3": "functional::a_plain_listing_of_an_hour_is_one_report "
    "functional::the_other_day_of_a_window_costs_nothing",
    "T4": "functional::one_window_is_asked_once_however_many_want_it",
    "T5": "functional::a_month_is_as_many_reports_as_it_has_windows_and_then_none "
    "core_time::the_catalog_is_bounded_and_its_oldest_window_leaves",
    "T6": "core_time::a_live_window_is_asked_again_after_its_time_and_a_settled_one_is_not "
    "core_time::a_window_settles_only_when_late_reports_are_in",
    "T7": "core_time::calls_appear_in_a_live_window readme::hangup_has_new_calls_appear_at_once",
    "T8": "functional::mtime_is_the_true_instant_of_the_call catalog_time::the_vendors_example",
    "T9": "functional::both_one_o_clock_hours_are_in_one_folder_with_their_own_instants "
    "functional::the_hour_that_daylight_saving_skips_has_no_folder",
    "T10": "readme::a_folders_mtime_is_the_end_of_its_period",
    "T11": "functional::windows_are_half_open_whatever_the_server_makes_of_end",
    "T12": "functional::names_outside_the_grammar_are_absent_without_a_request "
    "core_time::the_future_begins_at_midnight_in_chicago",
    "T13": "functional::records_that_cannot_be_shown_are_skipped_and_the_others_are_not "
    "core_time::skipped_records_are_counted_and_reported_once "
    "record::any_json_is_shown_or_skipped_or_refused",
    "T14": "core_time::equal_names_of_an_hour_are_one_file_with_the_later_start",
    "T15": "functional::a_body_that_is_no_list_is_an_error_and_not_an_empty_folder "
    "core_time::a_window_that_was_never_seen_is_an_error_and_not_an_empty_folder",
    "T16": "tools::inode_numbers_are_the_same_after_a_remount "
    "inodes::within_an_hour_numbers_follow_the_starts",
    "T17": "tools::it_is_read_only",
    "T18": "functional::the_root_and_statfs_never_touch_the_network "
    "tools::the_root_answers_while_the_api_is_out_of_reach",
    "T19": "readme::the_status_can_be_read_and_is_not_listed",
    "S1": "functional::a_size_costs_one_link_and_one_range_that_brings_the_first_block",
    "S2": "functional::a_plain_listing_of_an_hour_is_one_report "
    "functional::a_month_is_as_many_reports_as_it_has_windows_and_then_none",
    "S3": "ahead::stat_ahead_starts_on_the_second_lookup_and_not_on_the_first "
    "ahead::every_name_is_probed_once_and_many_at_a_time",
    "S4": "ahead::stat_ahead_stops_when_the_caller_stops "
    "ahead::lookups_without_order_are_not_looked_ahead_of",
    "S5": "ahead::prefetch_follows_the_order ahead::order_shuffled_by_eight_workers_is_order_still "
    "ahead::a_folder_read_through_is_fetched_once_in_large_pieces",
    "S6": "ahead::prefetch_keeps_within_its_share_of_the_memory ahead::prefetch_is_dropped_on_a_miss",
    "S7": "ahead::a_sweep_of_heads_pulls_heads_only ahead::heads_on_a_mount_stay_small",
    "S8": "functional::cat_of_a_known_name_is_one_link_and_the_fewest_ranges "
    "functional::a_long_recording_is_whole_and_no_byte_is_asked_for_twice",
    "S9": "ahead::random_reads_fetch_the_block_they_touch",
    "S10": "functional::a_second_read_costs_nothing "
    "ahead::a_second_read_of_a_cached_recording_does_not_even_reach_the_daemon",
    "S11": "functional::readers_of_one_recording_share_link_and_blocks "
    "core_time::a_reader_gets_its_block_while_the_rest_of_the_range_stalls",
    "S12": "ahead::a_reader_overtakes_a_full_queue_of_prefetches gate::a_reader_overtakes_a_full_queue",
    "S13": "tools::copies_are_equal tools::tar_packs_the_same_bytes tools::mmap tools::dd_at_odd_offsets "
    "tools::a_thousand_recordings_have_the_storages_sha256",
    "S14": "core_time::the_block_cache_stays_within_its_bytes_and_bytes_stay_right "
    "core_time::known_sizes_are_bounded_and_recordings_in_use_are_not_forgotten",
    "S15": "functional::an_empty_recording_is_an_empty_file",
    "S16": "functional::a_recording_whose_audio_is_missing_is_absent_when_it_is_wanted",
    "S17": "functional::a_replaced_recording_fails_old_handles_and_gives_its_new_bytes_to_new_ones "
    "functional::a_recording_that_is_replaced_midway_is_never_a_mixture",
    "S18": "core_time::a_reader_that_goes_away_leaves_the_others_alone_and_nothing_behind",
    "L1": "core_time::readers_of_one_recording_wait_for_one_link "
    "core_time::a_link_is_used_while_it_lives_and_renewed_before_it_dies "
    "functional::a_dead_link_is_renewed_once_unseen",
    "L2": "core_time::a_transfer_that_flows_is_not_cut_when_its_link_dies",
    "L3": "faults::a_reader_that_pauses_for_hours_reads_on",
    "L4": "faults::a_suspended_machine_goes_on_where_it_was "
    "faults::a_wall_clock_that_jumps_changes_neither_bytes_nor_leases",
    "L5": "functional::a_token_that_goes_bad_is_read_again_from_its_file "
    "functional::a_login_is_repeated_once_for_all_who_wait",
    "L6": "functional::the_token_goes_to_the_api_alone",
    "L7": "secrets::a_daemon_in_trouble_tells_no_secret service::whatever_looks_like_a_secret_is_struck_out",
    "L8": "functional::extended_attributes_carry_the_record_from_memory "
    "functional::numbers_and_names_of_people_are_shown_only_where_they_are_listed",
    "F1": "faults::matrix functional::a_failure_has_its_errno_and_is_never_an_end_of_file",
    "F2": "functional::what_never_answers_ends_at_the_deadline "
    "functional::a_read_that_never_gets_its_bytes_ends_at_the_deadline",
    "F3": "faults::matrix functional::a_transfer_that_stops_short_is_continued "
    "readme::what_may_pass_is_tried_again_and_the_rest_is_not",
    "F4": "faults::fewer_requests_at_once_while_the_origin_asks_for_less "
    "faults::work_ahead_yields_before_readers_do",
    "F5": "faults::a_broken_tenant_delays_no_other "
    "functional::a_forbidden_tenant_is_refused_and_its_neighbour_is_not",
    "F6": "faults::stale_beats_nothing_and_says_so_where_the_user_looks faults::a_refusal_is_no_outage",
    "F7": "faults::cached_audio_stays_readable_offline",
    "F8": "readme::the_mount_works_as_soon_as_there_is_a_network "
    "tools::the_root_answers_while_the_api_is_out_of_reach",
    "F9": "daemon::a_killed_daemon_leaves_an_error_and_the_next_start_heals_it "
    "kill::killed_under_load_and_healed_by_the_next_start",
    "F10": "daemon::a_second_mount_is_refused",
    "F11": "daemon::a_busy_mount_names_its_holder",
    "F12": "readme::a_folder_tells_what_failed_below_it_until_it_works_again",
    "F13": "callers::crawlers_are_known_by_name_and_warned_about_once "
    "callers::a_sweep_over_headers_is_a_crawl_and_is_said_once "
    "callers::nothing_is_fetched_ahead_for_a_crawler callers::a_crawler_waits_while_readers_are_served",
}
"""Sentence → the tests that hold it, `file::function` without `test_`."""


# --- how the page is read


def section(title: str) -> str:
    """The text below a heading of the second level."""
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def table(title: str, *columns: str) -> list[list[str]]:
    """The rows of the table in a section that has these columns; there must be some."""
    found = rows_of(section(title), columns)
    assert found
    assert all(len(row) == len(columns) for row in found)
    return found


def rows_of(text: str, columns: tuple[str, ...]) -> list[list[str]]:
    """The cells of the table with this head."""
    lines = text.splitlines()
    begin = lines.index(f"| {' | '.join(columns)} |")
    end = next((n for n in range(begin, len(lines)) if not lines[n].startswith("|")), len(lines))
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines[begin + 2 : end]]


def fences(language: str, text: str = README) -> list[str]:
    """The code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def code(text: str) -> list[str]:
    """What stands between backticks, code blocks left out."""
    return re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


# --- sentences and their tests


def sentences() -> dict[str, str]:
    found = re.findall(r"^- \*\*([A-Z]\d+)\*\* (.+)$", section("Semantics"), re.MULTILINE)
    assert len(dict(found)) == len(found), "a number is used twice"
    return dict(found)


def test_every_sentence_has_tests_that_exist() -> None:
    assert list(sentences()) == list(PROOFS)
    known: dict[str, set[str]] = {}
    for path in (ROOT / "tests").glob("test_*.py"):
        defined = ast.parse(path.read_text()).body
        known[path.stem] = {
            node.name for node in defined if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
    missing = []
    for number, proofs in PROOFS.items():
        assert proofs.split()
        for proof in proofs.split():
            file, _, name = proof.partition("::")
            if f"test_{name}" not in known.get(f"test_{file}", set()):
                missing.append(f"{number}: {proof}")
    assert not missing


def test_sentences_are_numbered_without_gaps() -> None:
    series: dict[str, list[int]] = {}
    for number in sentences():
        series.setdefault(number[0], []).append(int(number[1:]))
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in series.values())


# --- tables that are the code's


def test_the_configuration_reference_is_the_configuration() -> None:
    shown = table("Configuration", "key", "default", "values", "meaning")
    names = [f"`{section}.{key}`" for section, keys in config._SECTIONS.items() for key in keys]
    assert [row[0] for row in shown] == [*names, "`tenants.NAME.id`", "`tenants.NAME.since`"]
    defaults = config.Config(tenants={})
    for name, default, values, meaning in shown[:-2]:
        group, key = name.strip("`").split(".")
        rule = config._SECTIONS[group][key]
        expected = getattr(getattr(defaults, group), rule.attribute or key)
        if default:
            said = tomllib.loads(f"value = {default.strip('`')}")["value"]
            assert rule.convert(said) == expected, name
        else:
            assert expected is None, name
        if values:
            low, high = values.split(" to ")
            assert rule.convert(low) < rule.convert(high), name
            for beyond in (_beyond(low, 0.5), _beyond(high, 2)):
                if beyond != low:
                    with pytest.raises(ValueError, match="must be"):
                        rule.convert(beyond)
        assert meaning, name


def _beyond(limit: str, factor: float) -> str:
    """Half a lower limit, twice an upper one, in the same unit; below 0 is what is negative."""
    figure, _, unit = limit.partition(" ")
    number = float(figure) * factor or -1
    return f"{number:g} {unit}".strip() if unit or number % 1 else str(int(number))


def test_every_key_of_a_tenant_is_there() -> None:
    shown = {row[0] for row in table("Configuration", "key", "default", "values", "meaning")}
    fields = {field.name for field in msgspec.structs.fields(config.Tenant)}
    assert {f"`tenants.NAME.{field}`" for field in fields} <= shown


def test_the_example_loads_and_every_name_in_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [example] = fences("toml")
    asked: list[Path] = []

    def read(path: Path, environ: object) -> str:
        asked.append(path)
        return "token"

    monkeypatch.setattr(config, "read_secret_file", read)  # an absolute path that a test may not create
    file = tmp_path / "voxofs.toml"
    file.write_text(example)
    loaded = config.load(file, environ={}, overrides={}, today=date(2026, 1, 1))
    assert asked == [Path("/run/secrets/voxo")]
    assert loaded.tenants == {"demo": config.Tenant(id=37, since=date(2021, 1, 1))}
    for key, text in {"base_url": "base_url", "timezone": "timezone"}.items():
        assert re.search(rf"^{text} = .*# default$", example, re.MULTILINE)
        assert getattr(loaded.api, key) == getattr(config.Api(), key)


def test_mount_words_are_what_is_taken() -> None:
    said = section("Command line").split("`-o` takes", 1)[1]
    ignored = said.split("accepted and ignored:", 1)[1].split("`x-…`", 1)[0]
    words = code(ignored)
    assert len(words) > 8
    assert mount_words.own([(word, "") for word in words], from_mount=False) == {}
    with pytest.raises(ValueError, match="rw"):
        mount_words.own([("rw", "")], from_mount=False)
    for option in re.findall(r"-o ([a-z_]+[a-z_0-9=.,/]*)", README):
        for word in mount_words.own(mount_words.split([option]), from_mount=False):
            assert word == "config" or config.knows_word(word), option
    [line] = fences("fstab")
    source, _, kind, options, *_ = line.split()
    assert (source, kind) == ("/etc/voxofs/voxofs.toml", "voxofs")
    assert mount_words.own(mount_words.split([options]), from_mount=True) == {"allow_other": ""}


def test_the_errno_table_is_errors_py() -> None:
    shown = table("When something fails", "errno", "the program says", "when", "error class")
    kinds = {
        name: kind
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.VoxofsError) and kind not in (errors.VoxofsError, errors.ConfigError)
    }
    told = {row[3].strip("`"): row[0] for row in shown if row[3]}
    assert told == {name: errno.errorcode[kind.errno] for name, kind in kinds.items()}
    for name, said, _, _ in shown:
        assert os.strerror(getattr(errno, name)) == said
    assert {row[0] for row in shown if not row[3]} == {"EROFS", "ENOTCONN"}
    assert "EROFS" in inspect.getsource(fuse)


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands."""
    [choices] = [each.choices for each in cli._parser()._actions if isinstance(each.choices, dict)]
    return dict(choices)


def flags(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings} - {"-h", "--help"}


def test_the_command_line_reference_is_the_command_line() -> None:
    shown = table("Command line", "command", "options", "what it does")
    assert {row[0].strip("`").split()[1]: set(code(row[1])) for row in shown} == {
        name: flags(parser) for name, parser in commands().items()
    }
    for row in shown:
        parser = commands()[row[0].strip("`").split()[1]]
        [positional] = [action for action in parser._actions if not action.option_strings]
        expected = "[MOUNTPOINT]" if positional.nargs == "?" else "MOUNTPOINT"
        assert row[0].strip("`").split()[2] == expected


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    shown = table("Command line", "exit code", "meaning")
    assert [int(row[0]) for row in shown] == [cli.OK, cli.USAGE, cli.SYSTEM, cli.MOUNT_FAILED]


def invocations() -> Iterator[list[str]]:
    """Every command line of voxofs on the page, in code blocks and between backticks."""
    lines = [line for block in fences("(?:sh|console)") for line in block.splitlines()]
    for text in [line.removeprefix("$ ") for line in lines] + code(README):
        match = re.match(r"(?:\.venv/bin/)?voxofs ((?:[a-z]+|--?[a-z]+)\b.*)", text.split("#")[0].strip())
        if match and not text.startswith(("voxofs on", "voxofs 0.")):
            yield match[1].split()


def test_every_command_and_flag_on_the_page_exists() -> None:
    seen = list(invocations())
    assert len(seen) > 8
    for first, *words in seen:
        if first == "--version":
            continue
        assert first in commands(), first
        given = {word.split("=")[0] for word in words if word.startswith("-")}
        assert given <= flags(commands()[first]), (first, words)


# --- places


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", PAGES[page])
    assert links
    for link in links:
        if link.startswith(("http://", "https://")):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), link


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_that_are_named_exist(page: Path) -> None:
    text = PAGES[page]
    named = set(re.findall(r"(?<![\w/.])(?:scripts|systemd|tests|docs|voxofs)/[\w@./-]*\w/?", text))
    named |= set(re.findall(r"(?<![\w/.])requirements[\w-]*\.lock", text))
    assert named or page.name != "README.md"
    assert [name for name in named if not (ROOT / name).exists()] == []
    for name in named:
        if name.startswith("scripts/"):
            assert os.access(ROOT / name, os.X_OK), name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_path_of_a_developers_machine(page: Path) -> None:
    assert re.findall(r"/(?:root|work|home/(?!me\b)\w+|Users)/\S*", PAGES[page]) == []


def test_the_benchmarks_place_is_there_once() -> None:
    begin, end = "<!-- bench:begin -->", "<!-- bench:end -->"
    assert README.count(begin) == README.count(end) == 1
    assert (
        README.index("## Performance") < README.index(begin) < README.index(end) < README.index("## Limits")
    )


def test_what_the_scripts_install_is_what_is_said() -> None:
    demo, test = [
        row[2] for row in table("Try it", "command", "what it does", "what it installs, and says so first")
    ]
    prepare = (ROOT / "scripts/_prepare.sh").read_text()
    [packages] = re.findall(r"^mount_packages=\((.*)\)$", prepare, re.MULTILINE)
    mount: list[str] = packages.split()

    def installed(script: str) -> list[str]:
        [words] = re.findall(r"^need_debian (.*)$", (ROOT / script).read_text(), re.MULTILINE)
        return [*mount, *words.split()[1:]]

    assert code(demo)[0].split() == installed("scripts/demo")
    assert set(code(demo)[0].split()) | set(code(test)[0].split()) == set(installed("scripts/test"))
    [line] = re.findall(r"^apt-get install (.*)$", README, re.MULTILINE)
    assert set(mount) - set(line.split()) == {"ca-certificates"}


def test_the_design_has_every_module() -> None:
    shown = rows_of(PAGES[ROOT / "docs/design.md"], ("modules", "what they do"))
    named = [name for row in shown for name in code(row[0])]
    modules = {path.stem for path in (ROOT / "voxofs").glob("*.py")} - {"__init__", "__main__"}
    assert set(named) == modules
    assert len(named) == len(set(named))


def test_remedies_against_crawlers_are_those_that_the_log_names() -> None:
    text = " ".join(README.split())
    for remedy in callers._REMEDIES.values():
        if "updatedb" in remedy:
            assert "add `fuse.voxofs` to `PRUNEFS` in `/etc/updatedb.conf`" in text
        else:
            assert remedy in text


def test_personal_fields_are_named() -> None:
    [row] = [
        row for row in table("Configuration", "key", "default", "values", "meaning") if "xattr" in row[0]
    ]
    assert tuple(code(row[3])) == record.PERSONAL_FIELDS


# --- what no other file proves


async def test_metrics_and_status_are_named_completely() -> None:
    async with open_rig() as rig:
        await cat(CoreFront(rig.sim, rig.core.fs), f"{HOUR}/{NAMES[0]}")
        await rig.idle()
        made = config.Config(tenants={"office": config.Tenant(id=9, since=date(2023, 1, 1))})
        facts = Status(made, rig.core, lambda: (1, 0)).facts()
    text = section("When something fails")
    exposed = re.findall(r"^# TYPE (\w+) ", metrics.exposition(facts), re.MULTILINE)
    assert set(re.findall(r"`(voxofs_\w+)`", text)) == set(exposed)
    status = text.split("is JSON:", 1)[1].split("`voxofs stats", 1)[0]
    assert set(code(status)) - {"healthy", "last_error"} == set(facts)
    assert {"healthy", "last_error"} <= set(facts["tenants"]["office"])


async def test_the_status_can_be_read_and_is_not_listed(enter: EnterFront) -> None:
    async with enter() as front:
        assert await front.listdir("/") == ["office"]
        assert await front.listdir("/.voxofs") == ["status"]
        told = msgspec.json.decode(await cat(front, "/.voxofs/status"))
        if isinstance(front, MountFront):
            assert told["pid"] == front.daemon.process.pid
        assert await settle(front) == {}


async def test_a_folders_mtime_is_the_end_of_its_period() -> None:
    async with open_rig(hands=Hands("2024-03-05 12:30:00")) as rig:
        front = CoreFront(rig.sim, rig.core.fs)
        ends = {
            "/office/2023": "2024-01-01 00:00:00",
            "/office/2024/02": "2024-03-01 00:00:00",
            "/office/2024/03/04": "2024-03-05 00:00:00",
            HOUR: "2024-03-05 11:00:00",
        }
        for path, end in ends.items():
            assert (await front.stat(path)).mtime_s == epoch_s(end), path
        for path in (
            "/office",
            "/office/2024",
            "/office/2024/03",
            "/office/2024/03/05",
            "/office/2024/03/05/12",
        ):
            assert (await front.stat(path)).mtime_s == int(rig.hands.wall_s), path


async def test_hangup_has_new_calls_appear_at_once() -> None:
    today = datetime.now(CHICAGO).date()
    when = f"{today:%Y-%m-%d} 00:00:01"
    records = [call("first", when)]
    folder = f"/office/{today:%Y/%m/%d}"
    office = FixedTenant(9, "office", "Office", records, {"first": b"1", "second": b"2"})
    async with mount_front([office], sections={"cache": {"live_ttl_s": 3_600.0}}) as front:
        assert isinstance(front, MountFront)
        assert await front.listdir(f"{folder}/00") == ["first.mp3"]
        records.append(call("second", when))
        assert await front.listdir(f"{folder}/00") == ["first.mp3"]
        front.daemon.process.send_signal(signal.SIGHUP)
        with trio.fail_after(PATIENCE_S):  # a signal is not answered
            while await front.listdir(f"{folder}/00") != ["first.mp3", "second.mp3"]:
                await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("status", "tried_again"),
    [
        (status, status not in (400, 403, 404))
        for status in (400, 403, 404, 408, 425, 429, 500, 502, 503, 504)
    ],
)
async def test_what_may_pass_is_tried_again_and_the_rest_is_not(
    status: int, tried_again: bool, no_waits: None
) -> None:
    async with open_rig() as rig:
        rig.sim.add_fault(Fault("status", {"route": "reports"}, status=status))
        front = CoreFront(rig.sim, rig.core.fs)
        if tried_again:
            assert await front.listdir(HOUR) == NAMES
        else:
            with pytest.raises(OSError, match=str(status)):
                await front.listdir(HOUR)
        assert rig.counts() == {"reports": 1 + tried_again}


async def test_the_mount_works_as_soon_as_there_is_a_network(enter: EnterFront) -> None:
    async with enter(sections={"mount": {"deadline_s": 1.0}}) as front:
        await front.sim.refuse(api=True, storage=True)
        assert "05" in await front.listdir("/office/2024/03")
        with pytest.raises(OSError, match=r".") as failed:
            await front.listdir(HOUR)
        assert failed.value.errno in (errno.EIO, errno.ETIMEDOUT)
        await front.sim.refuse(api=False, storage=False)
        assert await front.listdir(HOUR) == NAMES
        assert await cat(front, f"{HOUR}/{NAMES[0]}") == BYTES[NAMES[0]]


async def test_a_folder_tells_what_failed_below_it_until_it_works_again(enter: EnterFront) -> None:
    path = f"{HOUR}/{NAMES[3]}"
    async with enter(sections={"mount": {"prefetch": False}}) as front:
        assert "user.voxofs.error" not in await front.xattrs(HOUR)
        front.sim.add_fault(Fault("status", {"route": "link"}, status=403))
        with pytest.raises(OSError, match=r".") as failed:
            await cat(front, path)
        assert failed.value.errno == errno.EACCES
        for folder in (HOUR, HOUR.rsplit("/", 1)[0], "/office"):
            said = (await front.xattrs(folder))["user.voxofs.error"]
            assert path in said
            assert "(status 403) [EACCES]; tried again at the next access" in said
        assert await cat(front, path) == BYTES[NAMES[3]]
        assert "user.voxofs.error" not in await front.xattrs(HOUR)
