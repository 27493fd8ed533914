"""The sentences of docs/semantics.md: each has its tests, and each number its sentence.

The second half proves what no other file does.
"""

from __future__ import annotations

import ast
import errno
import re
import signal
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
import trio
import trio.lowlevel
from conftest import EnterFront
from harness.fronts import CoreFront, MountFront, cat, mount_front, settle
from harness.rig import PATIENCE_S, Hands, open_rig
from harness.world import BYTES, CHICAGO, HOUR, NAMES, call, epoch_s

from voxofs.simulator.faults import Fault
from voxofs.simulator.world import FixedTenant

ROOT = Path(__file__).resolve().parents[2]
SEMANTICS = (ROOT / "docs/semantics.md").read_text()

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
    "T7": "core_time::calls_appear_in_a_live_window semantics::hangup_has_new_calls_appear_at_once",
    "T8": "functional::mtime_is_the_true_instant_of_the_call catalog_time::the_vendors_example",
    "T9": "functional::both_one_o_clock_hours_are_in_one_folder_with_their_own_instants "
    "functional::the_hour_that_daylight_saving_skips_has_no_folder",
    "T10": "semantics::a_folders_mtime_is_the_end_of_its_period",
    "T11": "functional::windows_are_half_open_whatever_the_server_makes_of_end",
    "T12": "functional::names_outside_the_grammar_are_absent_without_a_request "
    "core_time::the_future_begins_at_midnight_in_chicago",
    "T13": "functional::records_that_cannot_be_shown_are_skipped_and_the_others_are_not "
    "core_time::skipped_records_are_counted_and_reported_once "
    "report::any_json_is_shown_or_skipped_or_refused",
    "T14": "core_time::equal_names_of_an_hour_are_one_file_with_the_later_start",
    "T15": "functional::a_body_that_is_no_list_is_an_error_and_not_an_empty_folder "
    "core_time::a_window_that_was_never_seen_is_an_error_and_not_an_empty_folder",
    "T16": "tools::inode_numbers_are_the_same_after_a_remount "
    "inodes::within_an_hour_numbers_follow_the_starts",
    "T17": "tools::it_is_read_only",
    "T18": "functional::the_root_and_statfs_never_touch_the_network "
    "tools::the_root_answers_while_the_api_is_out_of_reach",
    "T19": "semantics::the_status_can_be_read_and_is_not_listed",
    "T20": "forgotten::forgotten_files_and_folders_are_found_by_their_handles "
    "forgotten::handles_are_good_in_another_daemon_and_those_of_nothing_are_stale "
    "kernel_names::a_handle_that_was_made_of_a_name_outlives_it",
    "T21": "forgotten::a_handle_of_a_recording_that_was_replaced_is_stale "
    "numbers::a_generation_tells_paths_and_versions_apart",
    "S1": "functional::a_size_costs_one_link_and_one_range_that_brings_the_first_block",
    "S2": "functional::a_plain_listing_of_an_hour_is_one_report "
    "functional::a_month_is_as_many_reports_as_it_has_windows_and_then_none",
    "S3": "ahead::stat_ahead_starts_on_the_second_lookup_and_is_earned_step_by_step "
    "ahead::who_listed_the_folder_and_begins_at_its_start_has_all_look_ahead_at_once "
    "ahead::every_name_is_probed_once_and_many_at_a_time",
    "S4": "ahead::stat_ahead_stops_when_the_caller_stops "
    "ahead::lookups_without_order_are_not_looked_ahead_of "
    "ahead::a_sample_costs_at_most_twice_what_was_looked_at "
    "ahead::programs_that_go_through_are_looked_ahead_of_and_samples_are_not",
    "S5": "ahead::prefetch_follows_the_order ahead::order_shuffled_by_eight_workers_is_order_still "
    "ahead::a_folder_read_through_is_fetched_once_in_large_pieces",
    "S6": "ahead::prefetch_keeps_within_its_share_of_the_memory ahead::prefetch_is_dropped_on_a_miss",
    "S7": "ahead::a_sweep_of_heads_pulls_heads_only ahead::heads_on_a_mount_stay_small "
    "ahead::a_look_at_head_and_tail_is_no_reading_through "
    "ahead::tag_readers_on_a_mount_fetch_what_they_look_at",
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
    "S19": "kernel_names::a_name_that_hangs_keeps_nobody_from_its_folder "
    "kernel_names::a_name_alone_costs_no_request kernel_names::whatever_asks_first_is_told_the_size",
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
    "L7": "secrets::a_daemon_in_trouble_tells_no_secret logs::whatever_looks_like_a_secret_is_struck_out",
    "L8": "functional::extended_attributes_carry_the_record_from_memory "
    "functional::numbers_and_names_of_people_are_shown_only_where_they_are_listed",
    "F1": "faults::matrix functional::a_failure_has_its_errno_and_is_never_an_end_of_file",
    "F2": "functional::what_never_answers_ends_at_the_deadline "
    "functional::a_read_that_never_gets_its_bytes_ends_at_the_deadline",
    "F3": "faults::matrix functional::a_transfer_that_stops_short_is_continued "
    "semantics::what_may_pass_is_tried_again_and_the_rest_is_not",
    "F4": "faults::fewer_requests_at_once_while_the_origin_asks_for_less "
    "faults::work_ahead_yields_before_readers_do",
    "F5": "faults::a_broken_tenant_delays_no_other "
    "functional::a_forbidden_tenant_is_refused_and_its_neighbour_is_not",
    "F6": "faults::stale_beats_nothing_and_says_so_where_the_user_looks faults::a_refusal_is_no_outage",
    "F7": "faults::cached_audio_stays_readable_offline",
    "F8": "semantics::the_mount_works_as_soon_as_there_is_a_network "
    "tools::the_root_answers_while_the_api_is_out_of_reach",
    "F9": "daemon::a_killed_daemon_leaves_an_error_and_the_next_start_heals_it "
    "kill::killed_under_load_and_healed_by_the_next_start",
    "F10": "daemon::a_second_mount_is_refused",
    "F11": "daemon::a_busy_mount_names_its_holder",
    "F12": "semantics::a_folder_tells_what_failed_below_it_until_it_works_again",
    "F13": "callers::crawlers_are_known_by_name_and_warned_about_once "
    "callers::a_sweep_over_headers_is_a_crawl_and_is_said_once "
    "callers::nothing_is_fetched_ahead_for_a_crawler callers::a_crawler_waits_while_readers_are_served",
    "F14": "kernel_signals::a_program_that_waits_can_be_killed "
    "kernel_signals::a_reader_of_many_threads_can_be_killed "
    "kernel_signals::a_signal_that_is_caught_or_ignored_ends_nothing",
    "F15": "kernel_places::readers_that_hang_do_not_delay_another_tenants "
    "kernel_places::the_root_answers_whatever_hangs",
    "F16": "kernel_programs::who_reads_whole_is_a_crawler_no_more",
    "F17": "kernel_programs::any_program_name_works kernel_programs::names_are_utf8_whatever_the_locale",
    "F18": "kernel_programs::rewinding_a_folder_lists_it_anew "
    "kernel_programs::hangup_during_a_report_is_not_lost",
}
"""Sentence → the tests that hold it, `file::function` without `test_`."""


# --- sentences and their tests


def sentences() -> dict[str, str]:
    found = re.findall(r"^- \*\*([A-Z]\d+)\*\* (.+)$", SEMANTICS, re.MULTILINE)
    assert len(dict(found)) == len(found), "a number is used twice"
    return dict(found)


def test_every_sentence_has_tests_that_exist() -> None:
    assert list(sentences()) == list(PROOFS)
    known: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        defined = ast.parse(path.read_text()).body
        assert path.stem not in known, "two files of tests share a name"
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


# --- what no other file proves


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
