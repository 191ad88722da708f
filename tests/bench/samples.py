"""Knows what programs and the kernel print, kept as text, and how the tests make rows of a run.  No tests."""

from __future__ import annotations

from figures import Load, Round, Row

CLEAN = """\
Running 2s test @ http://127.0.0.1:8123/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   750.77us  637.90us   9.84ms   93.67%
    Req/Sec    45.69k    13.97k   66.46k    65.00%
  Latency Distribution
     50%  617.00us
     75%  782.00us
     90%    1.02ms
     99%    3.70ms
  90781 requests in 2.00s, 11.43MB read
Requests/sec:  45349.41
Transfer/sec:      5.71MB
"""

CLOSING_AND_FAILING = """\
Running 1s test @ http://127.0.0.1:8124/
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   294.19us  297.02us   5.57ms   96.41%
    Req/Sec    12.54k     1.62k   14.01k    81.82%
  Latency Distribution
     50%  254.00us
     75%  341.00us
     90%  456.00us
     99%    1.02ms
  13732 requests in 1.10s, 545.35KB read
  Socket errors: connect 0, read 13732, write 0, timeout 0
  Non-2xx or 3xx responses: 4577
Requests/sec:  12483.35
Transfer/sec:    495.76KB
"""

TOO_SLOW = """\
Running 5s test @ http://127.0.0.1:8125/slow
  1 threads and 2 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.00us    0.00us   0.00us    -nan%
    Req/Sec     0.00      0.00     0.00    100.00%
  Latency Distribution
     50%    0.00us
     75%    0.00us
     90%    0.00us
     99%    0.00us
  4 requests in 5.02s, 380.00B read
  Socket errors: connect 0, read 0, write 0, timeout 4
Requests/sec:      0.80
Transfer/sec:      75.74B
"""

REFUSED = "unable to connect to 127.0.0.1:8126 Connection refused\n"

ROLLUP = """\
56298ae39000-7ffe96711000 ---p 00000000 00:00 0                          [rollup]
Rss:               15780 kB
Pss:                9767 kB
Pss_Dirty:          5384 kB
Pss_Anon:           5088 kB
Swap:                  0 kB
SwapPss:               0 kB
"""

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 101 1 0 20 4 30 10 -1
   2: 0100007F:1F90 0200007F:C002 01 00000000:00000000 00:00000000 00000000     0        0 102 1 0 20 4 30 10 -1
   3: 0100007F:C001 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 103 1 0 20 4 30 10 -1
   4: 0100007F:1F90 0100007F:C003 06 00000000:00000000 03:00000A00 00000000     0        0 0 3 0
   5: 0300007F:1F90 0100007F:1F91 01 00000000:00000000 00:00000000 00000000     0        0 105 1 0 20 4 30 10 -1
   6: 0100007F:1F91 0100007F:C004 01 00000000:00000000 00:00000000 00000000     0        0 104 1 0 20 4 30 10 -1
"""

STRACE = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 48.55    0.120012           7     16032           sendto
 30.11    0.074431           4     16064        12 recvfrom
 21.34    0.052750          98       536           epoll_wait
------ ----------- ----------- --------- --------- ----------------
100.00    0.247193           7     32632        12 total
"""

STAT = (
    "10337 (uwsgi) S 10282 10284 2848 0 -1 4194560 1747 0 6 0 14 30 0 0 20 0 1 0 231869 58589184 3886"
    " 18446744073709551615 94736424050688 94736424593189 140731422409664 0 0 0 0 16777220 24195 1 0 0 17 1"
)


def a_round(rate: float = 100.0, worker_mb: float | None = None, cpu: float = 1.0, **errors: int) -> Round:
    return Round(Load(rate, 2.0, int(rate), errors), tree_mb=30.0, worker_mb=worker_mb, cpu_seconds=cpu, seconds=1.0)


def a_row(server: str, *rates: float, workload: str = "plaintext", worker_mb: float | None = None) -> Row:
    return Row(server, "1.0", workload, 32, [a_round(rate, worker_mb) for rate in rates])
