/* fastkv serve, built without libmicrohttpd. */
#include "cli/commands.h"
#include "cli/console.h"

int cmd_serve(struct settings *settings)
{
    (void)settings;
    return console_error("this program was built without the server: libmicrohttpd (libmicrohttpd-dev) was missing, or "
                         "-Dserver=disabled was given");
}
