-- SPDX-License-Identifier: MIT
--
-- Rewrites a C source so that it holds its mutants, each alive only when the
-- process is told its number (spec/c/mutant.h): one build, and no compiler
-- between two mutants.  Knows as much of C as the sources in src/ need:
-- tokens, functions, statements, and the operators that join conditions.
--
-- The kinds of mutants (OPS):
--   never   an `if` whose condition counts as false: the check is gone
--   always  an `if` whose condition counts as true
--   false   any other condition (a bool returned, given or kept; before a `?`)
--   true    the same, true
--   clause  one part of a condition is gone: true in `&&`, false in `||`
--   andor   `&&` is `||`, and the other way round
--   edge    `<` is `<=`, `>` is `>=`, and the other way round
--   skip    a call is left out; what it returned is 0

local mutate = {}

local OPS = { "never", "always", "false", "true", "clause", "andor", "edge",
  "skip" }
mutate.OPS = OPS

local function set(words)
  local result = {}
  for word in words:gmatch("%S+") do result[word] = true end
  return result
end

-- ---- tokens -----------------------------------------------------------

-- Longest first.
local LONG = { "<<=", ">>=", "...", "->", "<<", ">>", "<=", ">=", "==", "!=",
  "&&", "||", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "++", "--" }

local function quoted(text, at)
  local quote, i = text:sub(at, at), at + 1
  while text:sub(i, i) ~= quote do
    i = i + (text:sub(i, i) == "\\" and 2 or 1)
  end
  return i
end

local function symbol(text, at)
  for _, long in ipairs(LONG) do
    if text:sub(at, at + #long - 1) == long then return at + #long - 1 end
  end
  return at
end

-- A directive, with the lines that it goes on in.
local function directive(text, at)
  local stop = at
  repeat
    stop = (text:find("\n", stop + 1, true) or #text + 1)
  until text:sub(stop - 1, stop - 1) ~= "\\"
  return stop
end

---@return table[] tokens { text, first, last }; comments are in none
local function tokens(text)
  local list, at = {}, 1
  while true do
    at = text:find("%S", at)
    if not at then return list end
    local two, one = text:sub(at, at + 1), text:sub(at, at)
    local last
    if two == "/*" then
      at = select(2, text:find("*/", at + 2, true)) + 1
    elseif two == "//" then
      at = text:find("\n", at, true) or #text + 1
    elseif one == "#" then
      at = directive(text, at)
    else
      if one == '"' or one == "'" then
        last = quoted(text, at)
      elseif one:find("[%w_]") then
        last = select(2, text:find("^[%w_%.]+", at))
        if one:find("[%a_]") then last = select(2, text:find("^[%w_]+", at)) end
      else
        last = symbol(text, at)
      end
      list[#list + 1] = { text = text:sub(at, last), first = at, last = last }
      at = last + 1
    end
  end
end

local CLOSE = { ["("] = ")", ["["] = "]", ["{"] = "}" }

-- Each bracket's partner.
local function pair(list)
  local open, partner = {}, {}
  for i, token in ipairs(list) do
    if CLOSE[token.text] then
      open[#open + 1] = i
    elseif token.text == ")" or token.text == "]" or token.text == "}" then
      local from = table.remove(open)
      partner[from], partner[i] = i, from
    end
  end
  return partner
end

-- ---- a file under way ---------------------------------------------------

local File = {}
File.__index = File

function File:text_of(i, j)
  if j < i then return "" end
  return self.text:sub(self.list[i].first, self.list[j].last)
end

-- What stands between a token and the next: spaces, comments, directives.
function File:gap(i)
  local after = self.list[i + 1]
  return self.text:sub(self.list[i].last + 1,
    after and after.first - 1 or #self.text)
end

function File:is(i, words)
  local token = self.list[i]
  return token ~= nil and words[token.text] ~= nil
end

-- One more mutant: its number.
function File:mutant(op, what)
  what = what:gsub("/%*.-%*/", ""):gsub("%s+", " ")
  local name = ("%s: %s: %s"):format(self.fn, op, what)
  local seen = (self.names[name] or 0) + 1
  self.names[name] = seen
  if seen > 1 then name = name .. " #" .. seen end
  return self.add(name, op)
end

-- The tokens in [i, j] that are outside of brackets and among the words.
function File:splits(i, j, words)
  local at = {}
  while i <= j do
    if words[self.list[i].text] then at[#at + 1] = i end
    i = CLOSE[self.list[i].text] and self.partner[i] + 1 or i + 1
  end
  return at
end

local COMMA, ASSIGN = set ",", set "= += -= *= /= %= &= |= ^= <<= >>="
local OR, AND, QUESTION = set "||", set "&&", set "?"
local EQUAL, LESS, BITS = set "== !=", set "< <= > >=", set "| ^ &"
local EDGE = { ["<"] = "<=", ["<="] = "<", [">"] = ">=", [">="] = ">" }

-- A macro's argument must not hold a comma in braces.
function File:braces(i, j)
  for k = i, j do
    if self.list[k].text == "{" then return true end
  end
  return false
end

-- Whether the whole is a condition by its outermost operator.
function File:is_condition(i, j)
  if #self:splits(i, j, ASSIGN) > 0 or #self:splits(i, j, QUESTION) > 0 then
    return false
  end
  return #self:splits(i, j, OR) + #self:splits(i, j, AND)
    + #self:splits(i, j, EQUAL) + #self:splits(i, j, LESS) > 0
    or self.list[i].text == "!"
end

-- A condition that may be taken for false and for true.
function File:condition(i, j, no, yes)
  local what = self:text_of(i, j)
  local n = no and self:mutant(no, what) or 0
  local y = yes and self:mutant(yes, what) or 0
  return ("lv_mutant_cond(%d, %d, !!(%s))"):format(n, y, self:expr(i, j))
end

-- One part of a chain of && or ||.
function File:clause(i, j, op)
  local chain = #self:splits(i, j, OR) > 0 or #self:splits(i, j, AND) > 0
  if chain then return self:expr(i, j) end
  if op == "&&" then return self:condition(i, j, nil, "clause") end
  return self:condition(i, j, "clause", nil)
end

-- [i, j] splits at its last && (or ||), since they join from the left.
function File:chain(i, j, at, macro)
  local op = self.list[at].text
  if self:braces(i, j) then return self:text_of(i, j) end
  local n = self:mutant("andor", self:text_of(i, j))
  return ("%s(%d, %s, %s)"):format(macro, n, self:clause(i, at - 1, op),
    self:clause(at + 1, j, op))
end

function File:edge(i, j, at)
  local op = self.list[at].text
  if self:braces(i, j) or #self:splits(i, j, BITS) > 0 then
    return self:text_of(i, j)
  end
  local n = self:mutant("edge", self:text_of(i, j))
  return ("LV_MUTANT_EDGE(%d, %s, %s, %s, %s)"):format(n,
    self:expr(i, at - 1), op, EDGE[op], self:expr(at + 1, j))
end

function File:ternary(i, j, at)
  local colon, depth = at + 1, 0
  while depth > 0 or self.list[colon].text ~= ":" do
    local text = self.list[colon].text
    if text == "?" then depth = depth + 1 end
    if text == ":" then depth = depth - 1 end
    colon = CLOSE[text] and self.partner[colon] + 1 or colon + 1
  end
  return self:condition(i, at - 1, "false", "true") .. self:gap(at - 1) .. "?"
    .. self:gap(at) .. self:expr(at + 1, colon - 1) .. self:gap(colon - 1)
    .. ":" .. self:gap(colon) .. self:expr(colon + 1, j)
end

local QUIET = set "free sizeof va_start va_end memset memcpy"

-- The name that a call [i, j] calls, nil when it is none: a.b->name(...).
function File:called(i, j)
  local k = i
  while k < j and self.list[k].text:find("^[%a_]") do
    local after = self.list[k + 1].text
    if after == "(" then
      return self.partner[k + 1] == j and self.list[k].text or nil
    end
    if after ~= "." and after ~= "->" then return nil end
    k = k + 2
  end
  return nil
end

-- A call that could be left out: not one that frees, nor one whose only work
-- is to tell what has failed.
function File:skips(i, j, fails)
  local name = self:called(i, j)
  return name and not QUIET[name] and not name:find("_free$")
    and not name:find("_clear$") and not (fails and (name:find("fail")
    or name:find("refuse") or name == "no_memory" or name == "invalid"))
end

-- code = f(): as if it had gone well.
function File:given(i, j)
  if self:is_condition(i, j) then
    return self:condition(i, j, "false", "true")
  end
  return self:expr(i, j)
end

function File:assignment(i, j, at)
  local value
  if self.list[at].text == "=" and self.list[at - 1].text == "code"
    and self:skips(at + 1, j, true) then
    value = ("LV_MUTANT_SKIP(%d) ? 0 : %s"):format(
      self:mutant("skip", self:text_of(i, j)), self:expr(at + 1, j))
  else
    value = self:given(at + 1, j)
  end
  return self:text_of(i, at) .. self:gap(at) .. value
end

-- Names, literals, brackets and the operators that decide nothing.
function File:leaf(i, j)
  local out, k = {}, i
  while k <= j do
    local text = self.list[k].text
    local stop = CLOSE[text] and self.partner[k]
    if stop and stop > k + 1 and not self:is(k - 1, set "sizeof") then
      local call = text == "(" and k > i
        and self.list[k - 1].text:find("^[%a_]")
      out[#out + 1] = text .. self:gap(k)
        .. self:list_of(k + 1, stop - 1, call)
        .. self:gap(stop - 1) .. CLOSE[text]
      k = stop
    elseif stop then
      out[#out + 1] = self:text_of(k, stop)
      k = stop
    else
      out[#out + 1] = text
    end
    if k < j then out[#out + 1] = self:gap(k) end
    k = k + 1
  end
  return table.concat(out)
end

-- What commas part.
function File:list_of(i, j, call)
  local out, from = {}, i
  local commas = self:splits(i, j, COMMA)
  commas[#commas + 1] = j + 1
  for _, comma in ipairs(commas) do
    if comma > from then
      out[#out + 1] = call and self:given(from, comma - 1)
        or self:expr(from, comma - 1)
      if comma <= j then out[#out + 1] = self:gap(comma - 1) end
    end
    if comma <= j then
      out[#out + 1] = ","
      if comma < j then out[#out + 1] = self:gap(comma) end
    end
    from = comma + 1
  end
  return table.concat(out)
end

function File:expr(i, j)
  local function first(words) return self:splits(i, j, words)[1] end
  local function last(words)
    local at = self:splits(i, j, words)
    return at[#at]
  end
  if first(ASSIGN) then return self:assignment(i, j, first(ASSIGN)) end
  if first(QUESTION) then return self:ternary(i, j, first(QUESTION)) end
  if last(OR) then return self:chain(i, j, last(OR), "LV_MUTANT_OR") end
  if last(AND) then return self:chain(i, j, last(AND), "LV_MUTANT_AND") end
  local at = last(EQUAL)
  if at then
    return self:expr(i, at - 1) .. self:gap(at - 1) .. self.list[at].text
      .. self:gap(at) .. self:expr(at + 1, j)
  end
  if last(LESS) then return self:edge(i, j, last(LESS)) end
  return self:leaf(i, j)
end

-- ---- statements -----------------------------------------------------------

-- The first of the words from i on, outside of brackets.
function File:find(i, words)
  while not words[self.list[i].text] do
    i = CLOSE[self.list[i].text] and self.partner[i] + 1 or i + 1
  end
  return i
end

local SEMICOLON, COLON = set ";", set ":"
local statement = {}

-- Each returns the new text of the statement's head and the token behind it.
function statement.as_is(file, i)
  local stop = file:find(i, SEMICOLON)
  return file:text_of(i, stop), stop + 1
end
for word in ("static enum typedef goto break continue _Static_assert")
  :gmatch("%S+") do
  statement[word] = statement.as_is
end

function statement.case(file, i)
  local stop = file:find(i, COLON)
  return file:text_of(i, stop), stop + 1
end
statement.default = statement.case

function statement.switch(file, i)
  local stop = file.partner[i + 1]
  return file:text_of(i, stop), stop + 1
end

-- `if (code == 0) code = f();`: never to do it is to leave the call out.
local function is_step(file, i, stop)
  return file:text_of(i + 2, stop - 1) == "code == 0"
    and file:text_of(stop + 1, stop + 2) == "code ="
    and file:skips(stop + 3, file:find(stop + 1, SEMICOLON) - 1, true)
end

statement["if"] = function(file, i)
  local stop = file.partner[i + 1]
  local never = not is_step(file, i, stop) and "never" or nil
  return "if (" .. file:condition(i + 2, stop - 1, never, "always") .. ")",
    stop + 1
end

statement["while"] = function(file, i)
  local stop = file.partner[i + 1]
  return "while (" .. file:expr(i + 2, stop - 1) .. ")", stop + 1
end

statement["for"] = function(file, i)
  local stop = file.partner[i + 1]
  local one = file:find(i + 2, SEMICOLON)
  local two = file:find(one + 1, SEMICOLON)
  local init = one > i + 2 and file:list_of(i + 2, one - 1) or ""
  local cond = two > one + 1 and file:expr(one + 1, two - 1) or ""
  return "for (" .. init .. "; " .. cond .. "; "
    .. file:text_of(two + 1, stop), stop + 1
end

statement["return"] = function(file, i)
  local stop = file:find(i, SEMICOLON)
  local from, to, value = i + 1, stop - 1
  if from > to then
    value = ""
  elseif file.kind == "bool" and not (from == to
    and file:is(from, set "true false")) then
    value = file:condition(from, to, "false", "true")
  elseif file.kind == "int" and file:skips(from, to, true) then
    value = ("LV_MUTANT_SKIP(%d) ? 0 : %s"):format(
      file:mutant("skip", file:text_of(i, to)), file:expr(from, to))
  else
    value = file:given(from, to)
  end
  return "return " .. value .. ";", stop + 1
end

function statement.other(file, i)
  if file:is(i + 1, COLON) then return file:text_of(i, i + 1), i + 2 end
  local stop = file:find(i, SEMICOLON)
  if file:skips(i, stop - 1, false) then
    return ("if (LV_MUTANT_SKIP(%d)) { } else %s;"):format(
      file:mutant("skip", file:text_of(i, stop - 1)),
      file:expr(i, stop - 1)), stop + 1
  end
  return file:list_of(i, stop - 1) .. ";", stop + 1
end

local PLAIN = set "{ } ; else do"

-- The body of a function, from its { to its }.
function File:body(i, j)
  local out = {}
  while i <= j do
    local head, after
    local text = self.list[i].text
    if PLAIN[text] then
      head, after = text, i + 1
    elseif text == "struct" and self:is(i + 2, set "{") then
      head, after = statement.as_is(self, i)
    else
      local handle = statement[text]
      if text == "as_is" or text == "other" then handle = nil end
      head, after = (handle or statement.other)(self, i)
    end
    out[#out + 1] = head
    if after <= j then out[#out + 1] = self:gap(after - 1) end
    i = after
  end
  return table.concat(out)
end

-- The name and the kind ("bool", "int" or another) of the function whose body
-- begins at token i; nil: none does.
function File:head(i)
  local close = self.list[i].text == "{" and self.list[i - 1]
  if not close or close.text ~= ")" then return nil end
  local open = self.partner[i - 1]
  local k = open - 2
  while k > 0 and not self:is(k, set "; }") do k = k - 1 end
  local type_text = self:text_of(math.max(k + 1, 1), open - 2)
  local kind = type_text:find("*", 1, true) and "pointer"
    or type_text:match("([%a_]+)%s*$")
  return self.list[open - 1].text, kind
end

---@param text string of a C file
---@param add fun(name: string, op: string): integer takes each mutant
---@return string text of the file with all its mutants
function mutate.file(text, add)
  local list = tokens(text)
  local file = setmetatable({ text = text, list = list, partner = pair(list),
    add = add, names = {} }, File)
  local out, i = { text:sub(1, list[1].first - 1) }, 1
  while i <= #list do
    local stop = list[i].text == "{" and file.partner[i]
    local name, kind = file:head(i)
    if name then
      file.fn, file.kind = name, kind
      out[#out + 1] = file:body(i, stop)
      i = stop
    elseif stop then
      out[#out + 1] = file:text_of(i, stop)
      i = stop
    else
      out[#out + 1] = list[i].text
    end
    out[#out + 1] = file:gap(i)
    i = i + 1
  end
  return table.concat(out)
end

return mutate
