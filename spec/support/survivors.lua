-- SPDX-License-Identifier: MIT
-- luacheck: no max line length
--
-- The mutants that no test notices, and why none can or need (mutants.lua
-- proves that each still lives).  A reason begins with one of these:
--
--   equivalent   the code does the same without it, as far as anybody sees
--   shadowed     another check refuses the same; both stay (defence in depth)
--   sooner       the same result, only with more work or more memory
--   unheard      what fails there fails again where it is told

local survivors = {}

local function because(reason)
  return function(names)
    for name in names:gmatch("[^\n]+") do
      survivors[name:match("^%s*(.-)%s*$")] = reason
    end
  end
end

-- ---- base ---------------------------------------------------------------

because "equivalent: below '0' the difference is negative, which is refused" [[
  base/uuid.c: nibble: clause: c >= '0'
]]
because "equivalent: no byte is left, and none is what the rest makes of it" [[
  base/path.c: lv_path_check: never: n == 0
  base/path.c: lv_path_folder: never: n == 0
  base/winpath.c: check_names: edge: at < n
]]
because "sooner: never more units than bytes, which need no counting" [[
  base/path.c: lv_path_length: never: n < limit
]]
because "equivalent: a name holds no slash, and only one would count" [[
  base/path.c: lv_path_relative: edge: file + i < name
]]
because "equivalent: absolute paths have the slash at 0 in common" [[
  base/path.c: lv_path_relative: clause: common > 0
  base/path.c: lv_path_relative: edge: common > 0
]]
because "equivalent: what is not taken leaves the replacement in c" [[
  base/utf.c: lv_utf8_repair: edge: taken > 0 #2
  base/utf.c: lv_utf8_repair: true: taken > 0 #2
]]
because "shadowed: the characters of a path hold no NUL by now" [[
  base/winpath.c: is_word: clause: word[i] != '\0'
]]
because "shadowed: root_length finds no root in other texts" [[
  base/winpath.c: lv_winpath_drive: clause: key[0] == '\\'
]]
because "shadowed: a share of no bytes is none either" [[
  base/winpath.c: root_length: edge: server + 3 >= n
]]
because "equivalent: before an empty name is a backslash" [[
  base/winpath.c: check_names: clause: m > 0
  base/winpath.c: check_names: edge: m > 0
]]
because "equivalent: in no bytes there is no dot, nor a port" [[
  base/winpath.c: is_reserved: edge: n > 0
  base/winpath.c: is_reserved: true: n > 0
  base/winpath.c: is_reserved: edge: n > 3
]]
because "equivalent: 'C:' and what begins a share break no rule of names" [[
  base/winpath.c: lv_winpath_check: false: absolute #2
]]
because "sooner: more room than is needed" [[
  base/winpath.c: lv_winpath_join: false: absolute #2
]]
because "equivalent: the five behind 'z' become the five behind 'Z', no letters" [[
  base/winpath.c: upper: clause: c <= 'z'
]]

-- ---- op: new files ---------------------------------------------------------

because "shadowed: end_slots abandons whatever is open by then, and the other way round" [[
  op/batch.c: slot_failed: skip: lv_newfile_abandon(&slot->file)
  op/batch.c: slot_shares: skip: lv_newfile_abandon(&slot->file)
  op/batch.c: slot_shares: skip: lv_newfile_abandon(&slot->file) #2
  op/batch.c: keep_slot: skip: lv_newfile_abandon(&slot->file)
  op/batch.c: end_slots: skip: lv_newfile_abandon(&slot->file)
]]
because "shadowed: a folder that holds an image is not empty, and stays" [[
  op/batch.c: end_sites: never: site->linked > 0
  op/batch.c: end_sites: skip: lv_newfile_keep_folders(&site->made)
]]
because "shadowed: a file with a name is not asked for one" [[
  op/batch.c: slot_failed: clause: !kid->named
]]
because "equivalent: only what failed has an error" [[
  op/batch.c: take: clause: how == LV_OVER
  op/batch.c: put_off_scarce: clause: slot->state == FAILED
]]
because "unheard: of what was made or kept nobody is told an error" [[
  op/batch.c: take: andor: how == LV_OVER && err.code != 0
  op/batch.c: take: clause: err.code != 0
]]
because "unheard: what has neither result nor error ran out of memory (children.c)" [[
  op/batch.c: look_at_name: skip: lv_fail(err, LVHD_E_OUTOFMEMORY, LV_R_NONE)
]]
because "equivalent: only failures come there" [[
  op/batch.c: slot_failed: edge: code < 0
  op/batch.c: slot_shares: edge: code > 0
]]
because "sooner: four folders are flushed by several workers, too" [[
  op/batch.c: flush_folders: edge: d.count > 4
]]
because "equivalent: no descriptor of ours is 0 (lv_openat)" [[
  op/batch.c: flush_between: edge: site->folder.root.fd >= 0
  op/batch.c: flush_folders: edge: d.file < 0
]]
because "shadowed: where there is no list it has no entries" [[
  op/inplace.c: free_list: clause: list
]]
because "equivalent: behind the last entry is NULL" [[
  op/inplace.c: free_list: edge: i < count
]]
because "equivalent: an empty batch has no descriptor, and may have eight" [[
  op/batch.c: take_all: clause: b->count == 0
]]
because "shadowed: no files are too few for one flush" [[
  op/batch.c: flush_files: clause: fds
]]
because "unheard: where there was no memory for the path its error goes without" [[
  op/batch.c: take: true: slot->c.image
]]
because "equivalent: any new file does, not only the first" [[
  op/batch.c: flush_folders: clause: d.file < 0
]]
because "equivalent: what was not flushed by then is flushed behind it" [[
  op/batch.c: flush_folders: clause: lv_job_spread(b->job, d.count, flush_dirty, &d, NULL) != 0
  op/batch.c: flush_folders: never: d.count > 4 && lv_job_spread(b->job, d.count, flush_dirty, &d, NULL) != 0
]]
because "equivalent: no error is copied onto no error" [[
  op/batch.c: flush_folders: clause: d.list[i].code != 0
]]
because "unheard: no memory, and cancelled: either is told" [[
  op/batch.c: lv_batch_run: clause: code == 0
]]
because "equivalent: behind the last text are zeros" [[
  op/outcome.c: put_locator: skip: put(at, "", 1)
]]
because "sooner: more room than is needed" [[
  op/outcome.c: text_size: edge: i < p->raw_count
]]
because "equivalent: a real path has a slash at least" [[
  op/outcome.c: build: clause: n == 0
]]
because "sooner: the hundred looks are over in less time" [[
  op/publish.c: lv_publish: skip: lv_look_rest(i)
]]

-- ---- format ---------------------------------------------------------------

because "equivalent: at the bound both ways give the same" [[
  format/footer.c: lv_timestamp: edge: seconds < UINT32_MAX
  format/footer.c: lv_timestamp: edge: seconds <= LV_EPOCH
  format/footer.c: lv_checksum: edge: i < whole
  format/footer.c: lv_checksum: edge: whole - i < most
  format/geometry.c: lv_geometry: edge: sectors < most
  format/geometry.c: lv_geometry: edge: heads < 4
  format/bitmap.c: lv_bits_find: edge: from < end
]]
because "shadowed: that size is odd, and refused for it" [[
  format/footer.c: lv_footer_decode: edge: footer->current_size > INT64_MAX
]]
because "sooner: bit by bit instead of eight bytes at once" [[
  format/bitmap.c: lv_bits_find: edge: end - from >= 64
  format/bitmap.c: lv_bits_find: edge: end - from >= 8
  format/bitmap.c: lv_bits_find: never: from % 8 == 0
]]

-- ---- image ----------------------------------------------------------------

because "equivalent: at the bound both ways give the same" [[
  image/table.c: lv_table_walk: edge: count < PIECE / 4
  image/table.c: keep_last: edge: entry > last->entry
  image/table.c: look: edge: end > s->pitch
  image/table.c: lv_table_scan: edge: image->blocks < LV_TABLE_MOST
  image/table.c: reach: edge: from + length > *end
  image/table.c: lv_table_end: edge: last.entry * LV_SECTOR + pitch > *end
  image/space.c: lv_space_new: edge: last + space->pitch > space->end
  image/space.c: take: edge: span->to > s->head_end
  image/space.c: take_locator: edge: space < e->length
  image/space.c: take_locator: edge: space > end - e->offset
]]
because "shadowed: a table of no bytes is too small, and any other lies outside" [[
  image/probe.c: check_table: edge: header->table_offset > length
]]
because "shadowed: the copy is the footer that was just refused" [[
  image/probe.c: read_copy: edge: file->st.st_size < LV_FOOTER_SIZE
]]
because "equivalent: what was not gathered crosses nothing" [[
  image/table.c: find_overlaps: clause: code == 0
]]
because "equivalent: after a failure nobody asks where the end is" [[
  image/table.c: lv_table_end: clause: code == 0
]]
because "shadowed: no sector is left there" [[
  image/table.c: reach_batmap: edge: at > limit
]]
because "equivalent: behind the last is an empty one" [[
  image/space.c: is_free: edge: i < s->taken_count
  image/table.c: metadata_end: edge: i < LV_LOCATORS
  image/table.c: tell: clause: low == s->crossed_count
]]
because "shadowed: no block reaches a place behind the file" [[
  image/table.c: take_metadata: clause: e->offset <= length
  image/table.c: take_metadata: clause: e->offset <= length #2
  image/table.c: take_metadata: edge: e->offset <= length
  image/table.c: take_metadata: edge: e->offset <= length #2
]]
because "equivalent: what lies before the first, a pointer, names no sector" [[
  image/table.c: cross: clause: s->crossed_count > 0
  image/table.c: cross: edge: s->crossed_count > 0
]]
because "sooner: a look for overlaps that finds none" [[
  image/table.c: find_overlaps: andor: code == 0 && s->crossed_count > 0
  image/table.c: find_overlaps: clause: s->crossed_count > 0
  image/table.c: find_overlaps: edge: s->crossed_count > 0
  image/table.c: lv_table_scan: edge: s.inside > 1
]]
because "equivalent: the sum of all is rounded up as well" [[
  image/table.c: metadata_end: skip: reach(&end, h->table_offset, lv_round_up((uint64_t)h->entries * 4, LV_SECTOR), limit)
]]
because "shadowed: the caller looks at the code of the read first" [[
  image/probe.c: read_copy: clause: code == 0
]]
because "equivalent: at the bound both ways give the same" [[
  image/space.c: add: edge: at < s->lowest
  image/space.c: check_table: edge: table.alignment < LV_SECTOR
]]
because "shadowed: no byte fits where none is left" [[
  image/space.c: is_free: edge: at > end
]]
because "shadowed: at 0 is the copy of the footer" [[
  image/space.c: take_batmap: clause: at == 0
]]
because "shadowed: bytes that were not read hold no cookie, and the code is given" [[
  image/space.c: take_batmap: clause: code != 0
  image/table.c: reach_batmap: clause: code != 0
]]
because "equivalent: a scan that failed has a code, whatever its list lacks" [[
  image/table.c: lv_table_sound: clause: code == 0
]]

-- ---- io ---------------------------------------------------------------------

because "shadowed: in a folder that could not be opened nothing is removed" [[
  io/newfile.c: remove_below: clause: gone
  io/newfile.c: remove_below: true: folder && lv_folder_under(&above, file->env, file->root, folder, NULL) == 0
  io/newfile.c: remove_below: clause: lv_folder_under(&above, file->env, file->root, folder, NULL) == 0
]]
because "shadowed: a root and what lies below it are no longer than that" [[
  io/newfile.c: remove_folders: andor: file->made_from == SIZE_MAX || n >= sizeof path
  io/newfile.c: remove_folders: clause: n >= sizeof path
  io/newfile.c: remove_folders: edge: n >= sizeof path
  io/newfile.c: remove_folders: never: file->made_from == SIZE_MAX || n >= sizeof path
]]
because "equivalent: what holds a folder that stays is not empty" [[
  io/newfile.c: remove_at: true: sys->unlinkat(sys, dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT
  io/newfile.c: remove_below: true: gone
  io/newfile.c: remove_folders: clause: (file->root ? remove_below(file, path) : remove_at(file, AT_FDCWD, path))
]]
because "equivalent: a real path has a slash before each name, and none at its end" [[
  io/newfile.c: make_folders: edge: at > start
  io/newfile.c: remove_folders: clause: n > 0
  io/newfile.c: remove_folders: clause: n > 1
  io/newfile.c: remove_folders: edge: n > 0
  io/newfile.c: remove_folders: edge: n > 1
  io/newfile.c: remove_folders: edge: n > file->made_from
]]
because "shadowed: without a folder the loop ends as well" [[
  io/newfile.c: make_folders: never: code != 0
]]
because "equivalent: a file without a name of its own has left by then" [[
  io/newfile.c: link_failed: clause: named
]]
because "equivalent: where nothing is missing the first try is the last" [[
  io/newfile.c: lv_newfile_folders: false: i > 0
]]
because "equivalent: no descriptor of ours is 0 (lv_openat)" [[
  io/flush.c: dirty_bytes: edge: fd < 0
  io/flush.c: dirty_bytes: edge: fd >= 0
  io/newfile.c: begin_named: edge: file->fd < 0
  io/newfile.c: begin_named: edge: file->fd >= 0
  io/newfile.c: close_target: edge: file->target >= 0
  io/newfile.c: lv_newfile_abandon: edge: file->fd >= 0
  io/newfile.c: lv_newfile_abandon: edge: file->fd >= 0 #2
  io/newfile.c: lv_newfile_begin: edge: file->fd >= 0
  io/newfile.c: lv_unnamed_open: edge: *fd >= 0
  io/newfile.c: set_place: edge: nearest->root.fd >= 0
  io/newfile.c: step_down: edge: next < 0
]]
because "equivalent: at the bound both ways give the same" [[
  io/flush.c: less: edge: a > b
  io/newfile.c: step_down: edge: start < file->made_from
]]
because "equivalent: in no bytes there is no number" [[
  io/flush.c: dirty_bytes: edge: n <= 0
]]
because "shadowed: abandon asks for it, and settle has just linked" [[
  io/newfile.c: unlink_ours: clause: file->linked
]]
because "shadowed: of no descriptor there is no fstat" [[
  io/newfile.c: lv_newfile_abandon: clause: file->fd >= 0
]]
because "equivalent: only the errno of a call that went well" [[
  io/root.c: step: clause: fd < 0
]]
because "equivalent: -1 is closed, which closes nothing" [[
  io/root.c: walk: true: failed == 0
]]
because "equivalent: the root of all is its own real path" [[
  io/root.c: as_given: edge: n > 1
]]
because "shadowed: the kernel finds no empty name either" [[
  io/root.c: next_name: clause: n == 0
]]
because "equivalent: abandon takes away once more what is gone" [[
  io/newfile.c: link_named: never: sys->unlinkat(sys, file->nearest, file->temp, 0) == 0
]]
because "equivalent: what was written in part has EIO" [[
  io/newfile.c: lv_newfile_write: clause: n < 0
  io/newfile.c: lv_newfile_write: edge: n < 0 #2
]]
because "shadowed: unlink_ours looks at it again" [[
  io/newfile.c: lv_newfile_abandon: andor: file->linked && file->fd >= 0
  io/newfile.c: lv_newfile_abandon: clause: file->linked
]]
because "shadowed: no folder is longer than the largest number" [[
  io/newfile.c: remove_folders: clause: file->made_from == SIZE_MAX
]]
because "sooner: no volume has the number 0" [[
  io/newfile.c: needs_name: clause: known != 0
]]
because "sooner: the folder is opened once more" [[
  io/newfile.c: make_folders: never: !file->missing && !again
  io/newfile.c: lv_newfile_folders: edge: i > 0
  io/newfile.c: lv_newfile_folders: true: i > 0
  io/newfile.c: lv_newfile_link: edge: i > 0
  io/newfile.c: lv_newfile_link: true: i > 0
]]
because "shadowed: abandon closes what settle does not" [[
  io/newfile.c: lv_newfile_settle: skip: close_target(file)
]]

return survivors
