"""Transfers that break off, stall, stumble and lie: gone on with, or refused and never taken for whole."""

import errno
from pathlib import Path

import pytest

from fakes.transfers import (
    BIG,
    PART,
    a_file,
    big,
    fetched,
    folder_with,
    listing,
    nothing_arrived,
    nothing_left,
    sha256,
)
from hier.config.dataset import File
from hier.data.download import download
from hier.errors import (
    ChecksumError,
    DiskFullError,
    NoDataError,
)

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("from_here_alone")


@pytest.fixture(params=["web", "ftp"])
def either(request):
    return request.getfixturevalue(request.param)


class TestBrokenTransfers:
    def test_goes_on_where_it_broke_off(self, either, out):
        either.steps = [100_000, 50_000]
        download(big(either.url), out)
        assert listing(out) == {"data.tgz": BIG}
        assert either.asked == [0, 100_000, 150_000]
        assert not PART.exists()

    def test_an_end_before_the_promised_length_is_no_end(self, either, out):
        """Of a file without a checksum nothing else would tell."""
        either.steps = [100_000] + [0] * 5
        with pytest.raises(NoDataError, match=r"data\.tgz: the transfer broke off \(5 tries\)"):
            download(fetched([File(name="data.tgz", url=either.url, unproved="none")]), out)
        assert either.asked == [0] + [100_000] * 5
        assert nothing_left(out)

    def test_tries_that_bring_something_do_not_count(self, either, out):
        either.steps = [10_000, 0, 0, 0, 0] * 3
        download(big(either.url), out)
        assert listing(out) == {"data.tgz": BIG}
        assert len(either.asked) == 16

    def test_a_part_of_an_earlier_run_is_gone_on_with(self, either, out):
        either.steps = [100_000] + [0] * 5
        with pytest.raises(NoDataError):
            download(big(either.url), out)
        assert nothing_left(out)
        assert PART.read_bytes() == BIG[:100_000]
        download(big(either.url), out)
        assert listing(out) == {"data.tgz": BIG}
        assert either.asked[-1] == 100_000
        assert not PART.exists()

    def test_a_part_of_one_address_is_gone_on_with_at_another(self, web, ftp, out):
        web.steps = [100_000, 404]
        download(big(web.url, alternates=[ftp.url]), out)
        assert listing(out) == {"data.tgz": BIG}
        assert (web.asked, ftp.asked) == ([0, 100_000], [100_000])

    def test_without_a_checksum_two_addresses_are_not_mixed(self, web, ftp, out):
        folder_with(PART.parent)
        PART.with_name("data.bin.part").write_bytes(b"of an earlier run")
        web.steps, ftp.content = [100_000, 404], BIG[::-1]
        file = File(name="data.bin", url=web.url, alternates=[ftp.url], unproved="none")
        download(fetched([file]), out)
        assert listing(out) == {"data.bin": BIG[::-1]}
        assert (web.asked, ftp.asked) == ([0, 100_000], [0])

    def test_a_part_goes_when_a_folder_has_the_whole(self, either, out, tmp_path):
        either.steps = [100_000] + [0] * 5
        with pytest.raises(NoDataError):
            download(big(either.url), out)
        assert PART.exists()
        mirror = folder_with(tmp_path / "mirror", data_tgz=BIG)
        download(fetched([a_file(content=BIG)], mirrors=[str(mirror)]), out)
        assert listing(out) == {"data.tgz": BIG}
        assert not PART.exists()

    def test_a_part_with_other_content_fails_and_goes(self, either, out):
        folder_with(PART.parent)
        PART.write_bytes(b"x" * 100_000)
        with pytest.raises(ChecksumError):
            download(big(either.url), out)
        assert either.asked == [100_000]
        assert not PART.exists()
        assert nothing_left(out)
        download(big(either.url), out)
        assert listing(out) == {"data.tgz": BIG}

    def test_wrong_content_fails_and_goes(self, either, out):
        either.content = BIG[:-1] + b"x"
        with pytest.raises(ChecksumError, match=rf"found {sha256(either.content)}"):
            download(big(either.url), out)
        assert not PART.exists()
        assert nothing_left(out)

    @pytest.mark.parametrize("size", [len(BIG), len(BIG) + 9])
    def test_a_part_that_is_too_long_is_begun_anew(self, either, out, size):
        folder_with(PART.parent)
        PART.write_bytes(b"x" * size)
        download(big(either.url), out)
        assert listing(out) == {"data.tgz": BIG}

    def test_a_server_that_cannot_begin_in_the_middle(self, either, out):
        either.ranges = False
        either.steps = [100_000, 50_000]
        download(big(either.url), out)
        assert listing(out) == {"data.tgz": BIG}
        assert not PART.exists()

    def test_a_server_without_ranges_that_breaks_off_at_will_is_given_up(self, web, out):
        """Less than has been there before is no progress."""
        web.ranges = False
        web.steps = [100_000, 70_000, 90_000, 70_000, 90_000, 70_000, 1]
        with pytest.raises(NoDataError, match="5 tries"):
            download(big(web.url), out)
        assert len(web.asked) == 6

    def test_another_part_than_was_asked_for_is_not_appended(self, web, out):
        folder_with(PART.parent)
        PART.write_bytes(BIG[:100_000])
        web.shift = 10
        download(big(web.url), out)
        assert listing(out) == {"data.tgz": BIG}
        assert web.asked == [100_000, 0]

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_a_busy_server_is_asked_again(self, web, out, status):
        web.steps = [status] * 4
        download(big(web.url), out)
        assert listing(out) == {"data.tgz": BIG}
        web.steps = [status] * 5
        with pytest.raises(NoDataError, match=rf"HTTP {status} \(5 tries\)"):
            download(big(web.url), out)

    @pytest.mark.parametrize("status", [403, 404, 410])
    def test_a_refusal_is_final_and_leaves_the_part(self, web, out, status):
        folder_with(PART.parent)
        PART.write_bytes(BIG[:5])
        web.steps = [status]
        with pytest.raises(NoDataError, match=rf"HTTP {status}\."):
            download(big(web.url), out)
        assert web.asked == [5]
        assert PART.read_bytes() == BIG[:5]

    def test_ftp_refusals_and_pauses(self, ftp, out):
        ftp.steps = [450]
        download(big(ftp.url), out)
        assert listing(out) == {"data.tgz": BIG}
        ftp.steps = [550]
        with pytest.raises(NoDataError, match=r"data\.tgz: FTP 550 no\."):
            download(big(ftp.url), out)

    def test_waits_double(self, web, out, monkeypatch):
        waits = []
        monkeypatch.setattr("hier.data.retries.FIRST_WAIT", 1.0)
        monkeypatch.setattr("hier.data.retries.time.sleep", waits.append)
        web.steps = [503] * 5
        with pytest.raises(NoDataError):
            download(big(web.url), out)
        assert waits == [1, 2, 4, 8]

    def test_interrupted_transfers_keep_the_part(self, either, out, monkeypatch):
        def stop(seconds):
            raise KeyboardInterrupt

        either.steps = [100_000]
        with monkeypatch.context() as patch:
            patch.setattr("hier.data.retries.time.sleep", stop)
            with pytest.raises(KeyboardInterrupt, match=f"is kept in {PART}: start again to go on"):
                download(big(either.url), out)
        assert PART.read_bytes() == BIG[:100_000]
        assert nothing_left(out)
        assert nothing_arrived(PART.parent)

    def test_interrupted_without_a_checksum_nothing_is_kept(self, either, out, monkeypatch):
        def stop(seconds):
            raise KeyboardInterrupt

        either.steps = [100_000]
        monkeypatch.setattr("hier.data.retries.time.sleep", stop)
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            download(fetched([File(name="data.tgz", url=either.url, unproved="none")]), out)
        assert not Path("downloads").exists()

    @pytest.mark.parametrize("made", [False, True])
    def test_an_empty_folder_of_parts_goes_where_it_came(self, web, out, made):
        if made:
            folder_with(PART.parent)
        download(big(web.url), out)
        assert PART.parent.exists() == made
        web.steps = [404]
        with pytest.raises(NoDataError):
            download(big(web.url), out)
        assert Path("downloads").exists() == made

    @pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
    def test_a_failure_while_writing_is_not_the_servers(self, either, out, monkeypatch, failure):
        def stop(*args):
            raise failure

        either.steps = [0]
        monkeypatch.setattr("hier.data.retries.write", stop)
        expected = DiskFullError if isinstance(failure, OSError) else KeyboardInterrupt
        with pytest.raises(expected) as caught:
            download(big(either.url), out)
        assert either.asked == [0]
        assert expected is KeyboardInterrupt or str(PART) in str(caught.value)


def test_no_answer_is_said_in_words(web, out, monkeypatch):
    import requests

    def silent(*args, **kwargs):
        raise requests.ConnectTimeout("HTTPConnectionPool")

    monkeypatch.setattr(requests, "get", silent)
    with pytest.raises(NoDataError, match=r": no answer within 30 s \(5 tries\)"):
        download(big(web.url), out)
