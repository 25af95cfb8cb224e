-- Addresses of clients as Traefik finds them (its ipStrategy).
-- Envoy has put who connected at the end of X-Forwarded-For: that entry is not the client's.

-- the eight (IPv6) or two (IPv4) numbers of sixteen bits of an address; nil: it is none
local function parts_of(text)
  local numbers = {text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")}
  if #numbers == 4 then
    for index = 1, 4 do
      numbers[index] = tonumber(numbers[index])
      if numbers[index] > 255 then
        return nil
      end
    end
    return {numbers[1] * 256 + numbers[2], numbers[3] * 256 + numbers[4]}
  end
  local head, tail = text:match("^(.-)::(.*)$")
  if head == nil then
    head, tail = text, nil
  end
  local function groups(piece)
    local found = {}
    for group in piece:gmatch("[^:]+") do
      local embedded = #found <= 6 and group:find(".", 1, true) and parts_of(group)
      if embedded and #embedded == 2 then
        found[#found + 1], found[#found + 2] = embedded[1], embedded[2]
      else
        local number = group:match("^%x%x?%x?%x?$") and tonumber(group, 16)
        if not number then
          return nil
        end
        found[#found + 1] = number
      end
    end
    return found
  end
  if not text:find(":", 1, true) then
    return nil
  end
  local first, last = groups(head), groups(tail or "")
  if first == nil or last == nil then
    return nil
  end
  if tail == nil then
    return #first == 8 and first or nil
  end
  while #first + #last < 8 do
    first[#first + 1] = 0
  end
  for _, number in ipairs(last) do
    first[#first + 1] = number
  end
  if #first ~= 8 then
    return nil
  end
  if first[1] == 0 and first[2] == 0 and first[3] == 0 and first[4] == 0 and first[5] == 0 and first[6] == 65535 then
    return {first[7], first[8]}  -- IPv4 written as IPv6
  end
  return first
end

local function is_within(parts, range)
  if #parts ~= #range.parts then
    return false
  end
  local left = range.bits
  for index, number in ipairs(range.parts) do
    if left <= 0 then
      return true
    end
    local unit = left >= 16 and 1 or 2 ^ (16 - left)
    if math.floor(parts[index] / unit) ~= math.floor(number / unit) then
      return false
    end
    left = left - 16
  end
  return true
end

local known_ranges = {}

-- the ranges of a text, blanks between them; each has its bits
local function ranges_of(text)
  local found = known_ranges[text]
  if found == nil then
    found = {}
    for address, bits in text:gmatch("(%S+)/(%d+)") do
      found[#found + 1] = {parts = parts_of(address), bits = tonumber(bits)}
    end
    known_ranges[text] = found
  end
  return found
end

function is_within_any(text, ranges)
  local parts = parts_of(text)
  if parts == nil then
    return false
  end
  for _, range in ipairs(ranges_of(ranges)) do
    if is_within(parts, range) then
      return true
    end
  end
  return false
end

local function connected(handle)
  local text = handle:streamInfo():downstreamDirectRemoteAddress()
  return text:match("^%[(.*)%]:%d+$") or text:match("^(.*):%d+$") or text
end

local function forwarded(handle)
  local found = {}
  for entry in (handle:headers():get("x-forwarded-for") or ""):gmatch("[^,]+") do
    found[#found + 1] = entry:match("^%s*(.-)%s*$")
  end
  found[#found] = nil
  return found
end

local function masked(text, bits)
  local parts = bits and parts_of(text)
  if not parts or #parts ~= 8 then
    return text
  end
  for index = 1, 8 do
    local left = bits - (index - 1) * 16
    if left < 16 then
      local unit = 2 ^ (16 - math.max(left, 0))
      parts[index] = math.floor(parts[index] / unit) * unit
    end
    parts[index] = string.format("%x", parts[index])
  end
  return table.concat(parts, ":")
end

-- the client's address by a strategy (depth; excluded; subnet), "" where there is none
function client_of(handle, told)
  local depth, excluded = tonumber(told:get("depth") or "") or 0, told:get("excluded")
  local address = ""
  if depth > 0 then
    local entries = forwarded(handle)
    address = entries[#entries + 1 - depth] or ""
  elseif excluded then
    local entries = forwarded(handle)
    for index = #entries, 1, -1 do
      if not is_within_any(entries[index], excluded) then
        address = entries[index]
        break
      end
    end
  else
    address = connected(handle)
  end
  return masked(address, tonumber(told:get("subnet") or ""))
end
