-- A real client's request: eight header fields, two of which differ from request to request. Everything is
-- made before the run; a request costs wrk one table look-up.
-- Arguments: the number of routes to spread the requests over (0: all of them go to one); a file of callers' tokens, if any.

local COUNT = 2000
local made, turn = {}, 0

local function hex(digits)
  local out = {}
  for i = 1, digits do out[i] = string.format("%x", math.random(0, 15)) end
  return table.concat(out)
end

function init(args)
  local routes = tonumber(args[1]) or 0
  math.randomseed(20)
  local tokens = {}
  if args[2] then for line in io.lines(args[2]) do tokens[#tokens + 1] = "Bearer " .. line end end
  for i = 1, COUNT do
    local path = string.format("/v1/users/%d?fields=name,email", i)
    if routes > 0 then path = string.format("/r%04d%s", i % routes, path) end
    local id = hex(32)
    made[i] = wrk.format("GET", path, {  -- and Host, which wrk adds
      ["User-Agent"] = "python-requests/2.32.4",
      ["Accept"] = "application/json, text/plain, */*",
      ["Accept-Encoding"] = "gzip, deflate, br",
      ["Accept-Language"] = "en-GB,en;q=0.9,de;q=0.8",
      ["Cookie"] = "session=4f2a9c1be07d4c5f; theme=dark",
      ["Traceparent"] = "00-" .. id .. "-" .. hex(16) .. "-01",
      ["X-Request-Id"] = id,
      ["Authorization"] = tokens[i % math.max(1, #tokens) + 1],
    })
  end
end

function request()
  turn = turn % COUNT + 1
  return made[turn]
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'bench-load {"duration": %.0f, "requests": %.0f, "received": %.0f, "p50": %.1f, "p99": %.1f, '
      .. '"connect_errors": %.0f, "read_errors": %.0f, "write_errors": %.0f, "timeouts": %.0f, '
      .. '"bad_statuses": %.0f}\n',
    summary.duration, summary.requests, summary.bytes, latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.timeout, e.status))
end
