/* session_settings.h: the settings of a saved session: JSON, with sorted keys, so that equal ones are equal bytes. */
#ifndef FKV_ENGINE_SESSION_SETTINGS_H
#define FKV_ENGINE_SESSION_SETTINGS_H

#include "engine/session_form.h"

/* Malloc'ed; NULL: no memory, or the label is not UTF-8. In a turn, as the next. */
char *fkv_settings_text(fkv_session *s, const char *label);
/* From form->settings: sets label and turns, and refuses what is not the session's. The message is the session's. */
fkv_status fkv_settings_read(struct fkv_form *form, fkv_session *s);

#endif
