#include "console.h"

#include <stddef.h>
#include <string.h>

#include "board.h"
#include "bonds.h"
#include "bootlog.h"
#include "dump.h"
#include "events.h"
#include "layout.h"
#include "lock.h"
#include "main.h"
#include "nvm.h"
#include "store.h"
#include "text.h"
#include "uart.h"
#include "update.h"
#include "users.h"

#define LINE_MAX 80u
#define WORDS_MAX 3u
#define SESSION_TICKS (300 * TICKS_PER_SECOND)

static const struct image_header *const own_header = (const struct image_header *)SLOT_A;

#ifdef FAULT_DUMP_LINE
__attribute__((aligned(4)))
#endif
static char line[LINE_MAX + 1];
static uint32_t line_length;
static const char *line_fault; /* why the line under way will be refused */
static uint32_t session = NOBODY;
static uint32_t session_used;

static bool testing(void) { return STATE_KIND(bootlog_last()) == STATE_TRYING; }

static void put_version(void)
{
    put_number(own_header->version >> 16);
    put_text(".");
    put_number(own_header->version >> 8 & 0xFF);
    put_text(".");
    put_number(own_header->version & 0xFF);
}

static void answer(const char *error)
{
    if (error != NULL) {
        put_text("error ");
        put_line(error);
    } else {
        put_line("ok");
    }
}

static void cmd_version(char **word)
{
    (void)word;
    put_text("version ");
    put_version();
    put_text(" counter ");
    put_number(counter_read());
    put_line(testing() ? " testing" : " confirmed");
}

static void cmd_status(char **word)
{
    (void)word;
    put_text(lock_open() ? "status bolt unlocked led on" : "status bolt locked led off");
    put_text(" reset ");
    put_line(reset_text(HANDOVER->reset_reason));
}

static void cmd_login(char **word)
{
    uint32_t user;
    session = NOBODY;
    switch (users_login(word[1], word[2], &user)) {
    case LOGIN_OK:
        session = user;
        put_line("ok");
        break;
    case LOGIN_DENIED:
        events_append(EVENT_DENIED, user == NOBODY ? "-" : store.users[user].name);
        put_line("denied");
        break;
    case LOGIN_WAIT:
        put_line("denied wait");
        break;
    }
}

static void cmd_logout(char **word)
{
    (void)word;
    session = NOBODY;
    put_line("ok");
}

static void cmd_settings(char **word)
{
    (void)word;
    put_text("settings name=");
    put_text(store.name);
    put_text(" volume=");
    put_number(store.volume);
    put_text(" autolock=");
    put_number(store.autolock);
    put_line("");
}

static const char *set(const char *key, const char *value)
{
    if (text_equal(key, "name")) {
        if (!name_valid(value)) {
            return "value";
        }
        memset(store.name, 0, sizeof store.name);
        strcpy(store.name, value);
        store_save(ITEM_NAME);
    } else if (text_equal(key, "volume")) {
        if (!parse_number(value, 10, &store.volume)) {
            return "value";
        }
        store_save(ITEM_VOLUME);
    } else if (text_equal(key, "autolock")) {
        if (!parse_number(value, 3600, &store.autolock)) {
            return "value";
        }
        store_save(ITEM_AUTOLOCK);
    } else {
        return "unknown setting";
    }
    return NULL;
}

static void cmd_set(char **word) { answer(set(word[1], word[2])); }

static void cmd_users(char **word)
{
    (void)word;
    const char *between = "users ";
    for (uint32_t i = 0; i < USERS; i++) {
        if (store.users[i].name[0] != 0) {
            put_text(between);
            put_text(store.users[i].name);
            between = ",";
        }
    }
    put_line("");
}

static void cmd_adduser(char **word) { answer(users_add(word[1], word[2])); }
static void cmd_deluser(char **word) { answer(users_delete(word[1], session)); }
static void cmd_setpin(char **word) { answer(users_set_pin(session, word[1])); }

static void cmd_pair(char **word) { answer(bonds_add(word[1], word[2], session)); }
static void cmd_unpair(char **word) { answer(bonds_delete(word[1])); }

static void cmd_bonds(char **word)
{
    (void)word;
    const char *between = " ";
    put_text("bonds");
    for (uint32_t i = 0; i < BONDS; i++) {
        if (store.bonds[i].name[0] != 0) {
            put_text(between);
            put_text(store.bonds[i].name);
            between = ",";
        }
    }
    put_line("");
}

/* A phone comes back with the key that it keeps. */
static void cmd_phone(char **word)
{
    uint32_t user;
    session = NOBODY;
    if (bonds_check(word[1], word[2], &user)) {
        session = user;
        put_line("ok");
    } else {
        events_append(EVENT_DENIED, "-");
        put_line("denied unknown phone");
    }
}

static void cmd_lock(char **word)
{
    (void)word;
    lock_set(false);
    answer(NULL);
}

static void cmd_unlock(char **word)
{
    (void)word;
    events_append(EVENT_OPENED, store.users[session].name); /* first: a cut must not leave an opened door unknown */
    lock_set(true);
    answer(NULL);
}

static void cmd_update(char **word)
{
    uint32_t length;
    if (testing()) {
        put_line("refused testing"); /* slot B holds the image to go back to */
    } else if (!parse_number(word[1], SLOT_SIZE, &length)) {
        put_line("refused length");
    } else {
        update_receive(length);
    }
}

static void cmd_confirm(char **word)
{
    (void)word;
    /* In this order: a counter raised first would make the image to go back to unbootable. The bootloader ends a raise that is cut. */
    if (testing()) {
        bootlog_append(STATE(STATE_CONFIRMED, 0));
    }
    counter_raise(own_header->counter);
    put_line("confirmed");
}

static void cmd_reboot(char **word)
{
    (void)word;
    answer(NULL);
    uart_flush();
    system_reset();
}

static void cmd_factory_reset(char **word)
{
    (void)word;
    factory_reset();
}

static void cmd_log(char **word)
{
    (void)word;
    events_show();
}

static void cmd_dump(char **word)
{
    (void)word;
    dump_show();
}

/* The maker's test of the crash dump. */
static void cmd_crash(char **word)
{
    (void)word;
    answer(NULL);
    uart_flush();
    __asm volatile("udf #0");
}

#ifdef FAULT_DUMP_LINE
const char *console_line(void) { return line; }
#endif

#ifdef FAULT_PEEK
static void cmd_peek(char **word)
{
    uint32_t address;
    if (parse_number(word[1], 0x7FFFFFFFu, &address)) {
        put_number(REG(address & ~3u));
        put_line("");
    }
}
#endif

static const struct command {
    const char *name;
    void (*run)(char **word);
    uint8_t arguments;
    bool open; /* needs no login */
} commands[] = {
    {"version", cmd_version, 0, true},
    {"status", cmd_status, 0, true},
    {"login", cmd_login, 2, true},
    {"logout", cmd_logout, 0, true},
    {"settings", cmd_settings, 0, false},
    {"set", cmd_set, 2, false},
    {"users", cmd_users, 0, false},
    {"adduser", cmd_adduser, 2, false},
    {"deluser", cmd_deluser, 1, false},
    {"setpin", cmd_setpin, 1, false},
    {"pair", cmd_pair, 2, false},
    {"unpair", cmd_unpair, 1, false},
    {"bonds", cmd_bonds, 0, false},
    {"phone", cmd_phone, 2, true},
    {"lock", cmd_lock, 0, false},
    {"unlock", cmd_unlock, 0, false},
    {"update", cmd_update, 1, false},
    {"confirm", cmd_confirm, 0, false},
    {"reboot", cmd_reboot, 0, false},
    {"log", cmd_log, 0, false},
    {"dump", cmd_dump, 0, false},
    {"crash", cmd_crash, 0, false},
#ifdef FAULT_RESET_UNAUTHENTICATED
    {"factory-reset", cmd_factory_reset, 0, true},
#else
    {"factory-reset", cmd_factory_reset, 0, false},
#endif
#ifdef FAULT_PEEK
    {"peek", cmd_peek, 1, true},
#endif
};

/* Cuts `line` at its spaces; returns the number of words, WORDS_MAX + 1 when there are more. */
static uint32_t split(char **word)
{
    uint32_t count = 0;
    char *at = line;
    for (;;) {
        while (*at == ' ') {
            *at++ = 0;
        }
        if (*at == 0 || count > WORDS_MAX) {
            return count;
        }
        if (count < WORDS_MAX) {
            word[count] = at;
        }
        count++;
        while (*at != 0 && *at != ' ') {
            at++;
        }
    }
}

static void run_line(void)
{
    char *word[WORDS_MAX];
    uint32_t words = split(word);
    if (words == 0) {
        return;
    }
    for (uint32_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const struct command *command = &commands[i];
        if (!text_equal(word[0], command->name)) {
            continue;
        }
        if (!command->open && session == NOBODY) {
            put_line("denied login required");
        } else if (words != command->arguments + 1u) {
            answer("arguments");
        } else {
            session_used = tick_now();
            command->run(word);
        }
        return;
    }
    answer("unknown command");
}

void console_ready(void)
{
    put_text("smart-lock ");
    put_version();
    put_line(" ready");
}

void console_byte(uint8_t byte)
{
    if (byte == '\r' || byte == '\n') {
        const char *fault = line_fault;
        line[line_length] = 0;
        line_length = 0;
        line_fault = NULL;
        if (fault != NULL) {
            answer(fault);
        } else {
            run_line();
        }
        return;
    }
    if (byte < ' ' || byte > '~') {
        line_fault = "bad byte";
    } else if (line_length == LINE_MAX) {
        line_fault = "line too long";
    } else {
        line[line_length++] = (char)byte;
    }
}

void console_poll(void)
{
    if (tick_now() - session_used >= SESSION_TICKS) {
        session = NOBODY;
    }
}
