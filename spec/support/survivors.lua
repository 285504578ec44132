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

-- ---- format -------------------------------------------------------------

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
because "shadowed: no size within the limits makes another number of clusters" [[
  format/fat.c: lay_out: true: fat->clusters >= (is16 ? LEAST16 : LEAST32) && fat->clusters <= (is16 ? MOST16 : MOST32)
  format/fat.c: lay_out: andor: fat->clusters >= (is16 ? LEAST16 : LEAST32) && fat->clusters <= (is16 ? MOST16 : MOST32)
  format/fat.c: lay_out: clause: fat->clusters >= (is16 ? LEAST16 : LEAST32)
  format/fat.c: lay_out: clause: fat->clusters <= (is16 ? MOST16 : MOST32)
  format/fat.c: lay_out: edge: fat->clusters >= (is16 ? LEAST16 : LEAST32)
  format/fat.c: lay_out: true: is16 #4
  format/fat.c: lay_out: false: is16 #5
  format/fat.c: lv_fat_plan: never: !lay_out(fat)
]]
because "equivalent: the last time there is, either way" [[
  format/fat.c: stamp: edge: timestamp < last
]]

-- ---- image --------------------------------------------------------------

because "only saves time: what is told often enough is not told again" [[
  image/table.c: found: never: s->list->each[reason] == LV_FINDINGS_EACH
  image/table.c: tell: never: s->list->each[LV_R_BLOCK_OVERLAP] == LV_FINDINGS_EACH
]]
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
  image/space.c: add: edge: at < s->lowest
  image/space.c: check_table: edge: table.alignment < LV_SECTOR
  image/image.c: lay_over: edge: (uint64_t)st->st_size > note->length
  image/facts.c: start: edge: length < LV_FOOTER_SIZE
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
  image/parent.c: free_names: edge: i < names->count
  image/chain.c: tell_parent: edge: k < facts->info.locator_count
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
because "equivalent: below it the difference is far too large to lie within" [[
  image/image.c: within: clause: piece->at >= from
]]
because "shadowed: before the first byte lies no piece" [[
  image/image.c: may_lie: clause: note->length >= LV_FOOTER_SIZE
  image/image.c: may_lie: clause: note->done >= LV_FOOTER_SIZE
]]
because "shadowed: a file of 512 bytes is no disk" [[
  image/image.c: may_lie: edge: note->length >= LV_FOOTER_SIZE
]]
because "equivalent: what follows the last in memory names no place of a piece" [[
  image/image.c: may_lie: edge: i < LV_LOCATORS
]]
because "shadowed: no file without a byte comes so far" [[
  image/image.c: lay_over: clause: note->done != 0
]]
because "shadowed: a note that was not read is not good" [[
  image/image.c: look_beside: clause: code != 0
  image/journal.c: lv_journal_look: clause: code != 0
]]
because "equivalent: only what has failed has a reason" [[
  image/image.c: look: clause: look_inside(image, env, &why) != 0
  image/facts.c: look: clause: code != 0
]]
because "equivalent: what went well leaves an empty error behind" [[
  image/image.c: look: clause: why.code != 0
  image/chain.c: lv_chain_open: clause: code != 0 #2
  image/parent.c: as_missing: clause: code != 0
  image/parent.c: add_root: clause: code != 0
]]
because "shadowed: no block is empty, nor a text that is read" [[
  image/image.c: lv_image_holds: edge: at <= image->data_end
  image/image.c: lv_image_locator: edge: e->offset > end
]]
because "shadowed: so many names a child never has" [[
  image/parent.c: add_name: clause: names->count == NAMES_MAX
]]
because "shadowed: the folder itself ends in a slash here, and has no name" [[
  image/parent.c: add_drive: clause: rest[0] != '\0'
]]
because "shadowed: what begins with slashes is no good path of Windows either" [[
  image/parent.c: add_windows: always: lv_winpath_is(text, strlen(text))
]]
because "equivalent: below '0' the difference is negative, which is refused" [[
  image/parent.c: hex: clause: c >= '0'
]]
because "shadowed: what was not read is NULL" [[
  image/parent.c: add_locator: clause: failed != 0
]]
because "equivalent: the same four letters, of another slot" [[
  image/chain.c: tell_parent: clause: facts->info.found_by == NULL
]]
because "shadowed: the last one ends it" [[
  image/chain.c: lv_chain_infos: clause: i < chain->count
  image/chain.c: lv_chain_infos: edge: i < chain->count
]]
because "sooner: more room than is needed" [[
  image/facts.c: decode: false: wide
]]
because "sooner: another look, which finds the same" [[
  image/facts.c: look: clause: !lv_facts_wrong(*out)
  image/facts.c: lv_facts_wrong: true: facts->has_error
  image/chain.c: look: clause: lv_infos_wrong(*out)
]]
because "shadowed: a note that does not count has no verb" [[
  image/facts.c: find_note: clause: image->journal == LV_JOURNAL_FOREIGN
  image/facts.c: find_note: andor: list->count == had || image->journal == LV_JOURNAL_FOREIGN
]]
because "sooner: it asks what the link would tell" [[
  op/look.c: ask_image: clause: c->opts.sync == LVHD_SYNC_NONE
]]
because "sooner: it asks again what was asked before" [[
  op/publish.c: publish_once: clause: !look.asked
]]
because "equivalent: the error decides, which has been told by then" [[
  image/image.c: lay_over: never: code != 0
]]
because "shadowed: two times that are the same are not apart either" [[
  image/image.c: is_older: edge: now < found
]]
because "equivalent: the header of a fixed disk is zeros, of which nothing is told" [[
  image/facts.c: lv_facts_new: clause: lv_image_has_table(image)
]]
because "shadowed: a piece has bytes behind its head" [[
  image/journal.c: decode_piece: edge: left < PIECE_HEAD
]]
because "equivalent: at the bound lies no whole sector" [[
  image/journal.c: decode_piece: edge: place > (uint64_t)INT64_MAX - length
]]
because "shadowed: so many pieces make a note too large" [[
  image/journal.c: decode: clause: count > PIECES
  image/journal.c: decode: edge: count > PIECES
]]
because "shadowed: no bytes are no note" [[
  image/journal.c: may_write: clause: note->st_size > 0
  image/journal.c: may_write: edge: note->st_size > 0
]]
because "equivalent: no descriptor of ours is 0" [[
  image/journal.c: lv_journal_look: edge: note.fd < 0
]]
because "equivalent: that reason comes with that code alone" [[
  image/journal.c: open_beside: clause: code == LVHD_E_ACCESSDENIED
]]

-- ---- io -----------------------------------------------------------------

because "equivalent: only the errno of a call that went well" [[
  io/root.c: step: clause: fd < 0
]]
because "equivalent: the root of all is its own real path" [[
  io/root.c: as_given: edge: n > 1
]]
because "shadowed: the kernel finds no empty name either" [[
  io/root.c: next_name: clause: n == 0
]]
because "equivalent: without memory that is told, whatever else failed" [[
  io/root.c: lv_root_around: clause: code == 0
]]
because "equivalent: no file that was opened is number 0, 1 or 2" [[
  io/root.c: hold_folder: edge: root->fd < 0
  io/root.c: hold_folder: edge: root->fd < 0 #2
  io/root.c: open_path: edge: root->fd < 0
  io/root.c: lv_root_free: edge: root->fd >= 0
  io/root.c: step: edge: fd < 0
  io/root.c: walk: edge: fd < 0
  io/root.c: ends_in_link: edge: fd >= 0
  io/root.c: ends_in_link: edge: fd >= 0 #2
  io/root.c: lv_root_fd: edge: fd >= 0
  io/root.c: lv_open_real: edge: all.fd < 0
  io/root.c: look: edge: fd < 0
  io/root.c: look: edge: fd >= 0
  io/root.c: lv_root_open: edge: file->fd < 0
  io/drives.c: leave_dir: edge: w->dir >= 0
  io/drives.c: enter_dir: edge: w->dir >= 0
  io/drives.c: enter_dir: edge: w->dir >= 0 #2
  io/drives.c: is_plain: edge: fd >= 0
  io/drives.c: is_plain: edge: fd >= 0 #2
  io/drives.c: lv_drives_open: edge: *fd < 0
  io/drives.c: lv_drives_open: edge: *fd >= 0
  io/drives.c: lv_drives_call_path: edge: fd >= 0
  io/folder.c: open_folder: edge: folder->fd < 0
  io/folder.c: open_folder: edge: folder->fd >= 0
  io/folder.c: open_folder: edge: folder->fd < 0 #2
  io/folder.c: open_below: edge: folder->fd < 0
  io/folder.c: open_below: edge: folder->fd >= 0
  io/folder.c: open_below: edge: folder->fd < 0 #2
  io/folder.c: lv_folder_gone: edge: folder->fd >= 0
  io/folder.c: lv_folder_close: edge: folder->fd >= 0
]]
because "equivalent: what failed is no file" [[
  io/drives.c: lv_drives_root: clause: code == 0
]]
because "equivalent: after a failure nobody asks for it" [[
  io/drives.c: lv_drives_open: clause: code == 0
  io/drives.c: is_plain: clause: good
  io/folder.c: open_folder: true: folder->fd >= 0
  io/folder.c: open_below: true: folder->fd >= 0
]]
because "equivalent: names of two lengths differ in their bytes" [[
  io/drives.c: lv_twins_take: clause: n == m
]]
because "equivalent: no link is empty" [[
  io/drives.c: follow: edge: n < 0
  io/drives.c: follow: edge: n < 0 #2
]]
because "equivalent: at the bound both ways give the same" [[
  io/drives.c: follow: edge: w->given > strlen(w->todo)
  io/flush.c: less: edge: a > b
  io/newfile.c: step_down: edge: start < file->made_from
]]
because "equivalent: before the first look there is no error to clear" [[
  io/drives.c: find: edge: i > 0
]]
because "shadowed: the kernel opens no path of so many bytes" [[
  io/drives.c: is_plain: clause: strlen(rest) < sizeof w->real
  io/drives.c: is_plain: edge: strlen(rest) < sizeof w->real
]]
because "sooner: name by name, though one call would do" [[
  io/drives.c: is_plain: clause: w->last == LV_LAST_AS_IT_IS
]]
because "sooner: it is looked for once more" [[
  io/drives.c: find: edge: i < LOOKS
  io/drives.c: lv_drives_open: edge: i < LOOKS
]]
because "equivalent: a path is absolute, and its root can be opened" [[
  io/folder.c: cut_component: clause: n > 1
  io/folder.c: cut_component: clause: n > 1 #2
  io/folder.c: cut_component: edge: n > 1
  io/folder.c: cut_component: edge: n > 1 #2
]]
because "equivalent: no other error has that reason" [[
  io/folder.c: open_windows: clause: code == LVHD_E_PATH_NOT_FOUND
]]
because "shadowed: there is nothing to be told of -1" [[
  io/folder.c: lv_folder_gone: clause: folder->fd >= 0
]]
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
because "equivalent: in no bytes there is no number" [[
  io/flush.c: dirty_bytes: edge: n <= 0
]]
because "shadowed: abandon asks for it, and settle has just linked" [[
  io/newfile.c: unlink_ours: clause: file->linked
]]
because "shadowed: of no descriptor there is no fstat" [[
  io/newfile.c: lv_newfile_abandon: clause: file->fd >= 0
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

-- ---- op -----------------------------------------------------------------

because "sooner: no rest between two looks" [[
  op/look.c: lv_create_look: skip: lv_look_rest(i + 1)
  op/look.c: lv_look_rest: edge: i > 1
  op/look.c: lv_look_rest: never: i > 1
  op/look.c: lv_look_rest: skip: nanosleep(&moment, NULL)
]]
because "equivalent: no file that was opened is number 0, 1 or 2" [[
  op/look.c: look_place: edge: look->folder.fd < 0
]]
because "equivalent: no file has the number 0" [[
  op/look.c: lv_create_parent: clause: c->seen.st.st_ino != 0
]]
because "equivalent: an absolute path of the host stays as long as it was" [[
  op/look.c: join_parent: clause: relative
  op/look.c: join_parent: andor: code == 0 && relative
]]
because "equivalent: after a failure nobody asks for it" [[
  op/look.c: join_parent: clause: code == 0
]]
because "equivalent: a note that could not be read is no good one" [[
  op/look.c: check_note: clause: code == 0
]]
because "equivalent: only a child's parent was ever looked at" [[
  op/look.c: block_size: clause: c->type == LVHD_DIFFERENCING
]]
because "equivalent: no disk has the identifier of zeros" [[
  op/look.c: check_uuid: clause: c->type == LVHD_DIFFERENCING
]]
because "equivalent: a time at the bound is no error" [[
  op/look.c: check_values: edge: opts->timestamp < LV_EPOCH #2
]]
because "equivalent: what does not climb leaves no folder" [[
  op/way.c: leaves_nearest: never: climbs(relative) == 0
]]
because "equivalent: an empty text passes the check before" [[
  op/way.c: check_words: clause: code == 0
]]
because "equivalent: what failed told of no relation" [[
  op/way.c: find_windows: clause: code == 0
]]
because "equivalent: without drives no way is looked for in them" [[
  op/way.c: lv_way_find: clause: lv_drives_count(env) > 0
  op/way.c: lv_way_find: edge: lv_drives_count(env) > 0
]]
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

return survivors
