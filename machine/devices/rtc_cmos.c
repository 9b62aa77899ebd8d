/* SPDX-License-Identifier: MIT */
/* MC146818: calendar, update cycle, alarm, periodic interrupt. Flags of register C are computed when
 * someone looks or when one of them is to interrupt; nothing ticks otherwise. MC146818A data sheet. */
#include "machine/devices/rtc_cmos.h"

#include "machine/board.h"

enum { SECONDS = 0, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, DAY, MONTH, YEAR };
enum { REG_A = 10, REG_B, REG_C, REG_D, CENTURY = 0x32, CENTURY_PS2 = 0x37 };
enum { A_UIP = 0x80 };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_BINARY = 4, B_24H = 2 };
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10 };

/* An update takes 1984 us and is announced 244 us before. */
#define UPDATE_CYCLES UINT64_C(2228000)
#define DAY_SECONDS 86400

struct calendar {
    uint32_t second, minute, hour, weekday, day, month, year;
};

/* ---- calendar: days since 1970 <-> date, proleptic Gregorian ---- */

static uint64_t days_of(uint32_t year, uint32_t month, uint32_t day)
{
    uint64_t y = month <= 2 ? year - 1u : year, m = (month + 9) % 12;
    return y * 365 + y / 4 - y / 100 + y / 400 + (m * 306 + 5) / 10 + (day - 1) - 719468;
}

static void date_of(uint64_t days, struct calendar *c)
{
    uint64_t z = days + 719468, era = z / 146097, doe = z % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), m = (5 * doy + 2) / 153;
    c->day = (uint32_t)(doy - (153 * m + 2) / 5 + 1);
    c->month = (uint32_t)(m < 10 ? m + 3 : m - 9);
    c->year = (uint32_t)(yoe + era * 400 + (c->month <= 2));
    c->weekday = (uint32_t)((days + 4) % 7 + 1);
}

static void split(uint64_t seconds, struct calendar *c)
{
    uint32_t tod = (uint32_t)(seconds % DAY_SECONDS);
    c->second = tod % 60;
    c->minute = tod / 60 % 60;
    c->hour = tod / 3600;
    date_of(seconds / DAY_SECONDS, c);
}

/* ---- register encodings ---- */

static uint8_t encode(const struct rtc *r, uint32_t v)
{
    return r->s.cmos[REG_B] & B_BINARY ? (uint8_t)v : (uint8_t)(v / 10 << 4 | v % 10);
}
static uint32_t decode(const struct rtc *r, uint8_t v)
{
    return r->s.cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}
static uint8_t encode_hour(const struct rtc *r, uint32_t hour)
{
    if (r->s.cmos[REG_B] & B_24H) return encode(r, hour);
    uint8_t twelve = encode(r, hour % 12 ? hour % 12 : 12);
    return hour >= 12 ? twelve | 0x80 : twelve;
}
static uint32_t decode_hour(const struct rtc *r, uint8_t v)
{
    if (r->s.cmos[REG_B] & B_24H) return decode(r, v);
    return decode(r, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

/* ---- time ---- */

static bool stands_still(const struct rtc *r)
{
    return (r->s.cmos[REG_B] & B_SET) || (r->s.cmos[REG_A] & 0x70) != 0x20;
}

static uint64_t seconds_at(const struct rtc *r, uint64_t cycle)
{
    return r->s.base_seconds + (cycle - r->s.base_cycle) / CLOCK_HZ;
}

/* Puts the running time into the registers; from there on they may be frozen or edited. */
static void store_time(struct rtc *r)
{
    struct calendar c;
    split(seconds_at(r, clock_now(r->clock)), &c);
    uint8_t *m = r->s.cmos;
    m[SECONDS] = encode(r, c.second);
    m[MINUTES] = encode(r, c.minute);
    m[HOURS] = encode_hour(r, c.hour);
    m[WEEKDAY] = encode(r, c.weekday);
    m[DAY] = encode(r, c.day);
    m[MONTH] = encode(r, c.month);
    m[YEAR] = encode(r, c.year % 100);
    m[CENTURY] = m[CENTURY_PS2] = encode(r, c.year / 100 % 100);
}

/* Takes the time from the registers; nonsense in them is brought into range. `phase`: cycles of the
 * current second already gone. */
static void take_time(struct rtc *r, uint64_t phase)
{
    const uint8_t *m = r->s.cmos;
    uint32_t year = decode(r, m[CENTURY]) * 100 + decode(r, m[YEAR]);
    uint32_t month = decode(r, m[MONTH]), day = decode(r, m[DAY]);
    if (year < 1970) year = 1970;
    if (month < 1 || month > 12) month = 1;
    if (day < 1 || day > 31) day = 1;
    uint64_t now = clock_now(r->clock);
    r->s.base_seconds = days_of(year, month, day) * DAY_SECONDS + decode_hour(r, m[HOURS]) % 24 * 3600 +
                        decode(r, m[MINUTES]) % 60 * 60 + decode(r, m[SECONDS]) % 60;
    /* base_cycle may lie before cycle 0: modulo arithmetic keeps the difference right. */
    r->s.base_cycle = now - phase;
}

static uint64_t phase_now(const struct rtc *r) { return (clock_now(r->clock) - r->s.base_cycle) % CLOCK_HZ; }

/* ---- flags and interrupt ---- */

/* Rate in ticks of 32.768 kHz, 0: none. */
static uint64_t period_ticks(const struct rtc *r)
{
    unsigned rate = r->s.cmos[REG_A] & 15;
    if (rate == 0 || (r->s.cmos[REG_A] & 0x70) != 0x20) return 0;
    return UINT64_C(1) << ((rate <= 2 ? rate + 7 : rate) - 1);
}

static uint64_t next_period(const struct rtc *r, uint64_t after)
{
    uint64_t ticks = period_ticks(r);
    if (!ticks) return CLOCK_NEVER;
    uint64_t n = clock_ticks(after, BOARD_RTC_HZ) / ticks + 1;
    return clock_cycle_of(n * ticks, BOARD_RTC_HZ);
}

static uint64_t next_update(const struct rtc *r, uint64_t after)
{
    if (stands_still(r)) return CLOCK_NEVER;
    return after + CLOCK_HZ - (after - r->s.base_cycle) % CLOCK_HZ;
}

static bool alarm_field(const struct rtc *r, unsigned reg, uint32_t value)
{
    uint8_t a = r->s.cmos[reg];
    if ((a & 0xc0) == 0xc0) return true; /* don't care */
    return (reg == HOURS_ALARM ? decode_hour(r, a) : decode(r, a)) == value;
}

/* Cycle of the first update after `after` at which the alarm matches. */
static uint64_t next_alarm(const struct rtc *r, uint64_t after)
{
    uint64_t first = next_update(r, after);
    if (first == CLOCK_NEVER) return CLOCK_NEVER;
    uint32_t tod = (uint32_t)(seconds_at(r, first) % DAY_SECONDS);
    for (uint32_t skipped = 0; skipped < DAY_SECONDS;) {
        uint32_t t = (tod + skipped) % DAY_SECONDS;
        if (!alarm_field(r, HOURS_ALARM, t / 3600))
            skipped += 3600 - t % 3600;
        else if (!alarm_field(r, MINUTES_ALARM, t / 60 % 60))
            skipped += 60 - t % 60;
        else if (!alarm_field(r, SECONDS_ALARM, t % 60))
            skipped++;
        else
            return first + skipped * CLOCK_HZ;
    }
    return CLOCK_NEVER;
}

/* Brings register C up to now. */
static void account(struct rtc *r)
{
    uint64_t now = clock_now(r->clock), seen = r->s.flags_seen;
    uint8_t *c = &r->s.cmos[REG_C];
    if (now <= seen) return;
    if (next_period(r, seen) <= now) *c |= C_PF;
    if (next_update(r, seen) <= now) *c |= C_UF;
    if (next_alarm(r, seen) <= now) *c |= C_AF;
    r->s.flags_seen = now;
}

static void update(struct rtc *r)
{
    uint8_t enabled = r->s.cmos[REG_B] & (B_PIE | B_AIE | B_UIE);
    account(r);
    uint8_t *c = &r->s.cmos[REG_C];
    *c = *c & enabled ? *c | C_IRQF : *c & (uint8_t)~C_IRQF;
    irq_set(r->irq, BOARD_IRQ_RTC, IRQ_SRC_RTC, (*c & C_IRQF) != 0);
    /* An event is needed only for a flag that is enabled and not yet up. */
    uint64_t now = clock_now(r->clock), next = CLOCK_NEVER, t;
    uint8_t wanted = enabled & (uint8_t) ~*c;
    if ((wanted & B_PIE) && (t = next_period(r, now)) < next) next = t;
    if ((wanted & B_UIE) && (t = next_update(r, now)) < next) next = t;
    if ((wanted & B_AIE) && (t = next_alarm(r, now)) < next) next = t;
    clock_arm(r->clock, &r->timer, next);
}

static void on_timer(void *opaque) { update(opaque); }

/* ---- ports ---- */

static bool is_time(unsigned reg)
{
    return reg == SECONDS || reg == MINUTES || reg == HOURS || (reg >= WEEKDAY && reg <= YEAR) ||
           reg == CENTURY || reg == CENTURY_PS2;
}

uint32_t rtc_read(void *opaque, uint16_t port, uint32_t size)
{
    struct rtc *r = opaque;
    (void)size;
    if ((port & 1) == 0) return 0xff; /* the index is write-only */
    unsigned reg = r->s.index;
    if (is_time(reg) && !stands_still(r)) store_time(r);
    switch (reg) {
    case REG_A: {
        bool uip = !stands_still(r) && phase_now(r) >= CLOCK_HZ - UPDATE_CYCLES;
        return (r->s.cmos[REG_A] & 0x7fu) | (uip ? A_UIP : 0);
    }
    case REG_C: {
        account(r);
        update(r);
        uint8_t c = r->s.cmos[REG_C];
        r->s.cmos[REG_C] = 0;
        update(r);
        return c;
    }
    case REG_D: return 0x80;
    default: return r->s.cmos[reg];
    }
}

static void write_a(struct rtc *r, uint8_t value)
{
    bool was_still = stands_still(r);
    account(r);
    if (!was_still) store_time(r);
    r->s.cmos[REG_A] = value & 0x7f;
    /* The first update after the divider starts comes half a second later. */
    if (was_still && !stands_still(r)) take_time(r, CLOCK_HZ / 2);
}

static void write_b(struct rtc *r, uint8_t value)
{
    bool was_still = stands_still(r);
    uint64_t phase = phase_now(r);
    account(r);
    if (!was_still) store_time(r);
    if (value & B_SET) value &= (uint8_t)~B_UIE;
    uint8_t format = (r->s.cmos[REG_B] ^ value) & (B_BINARY | B_24H);
    r->s.cmos[REG_B] = value;
    if (format && !was_still && !stands_still(r)) return; /* the running time is kept apart from its format */
    if (was_still && !stands_still(r)) take_time(r, phase);
}

void rtc_write(void *opaque, uint16_t port, uint32_t size, uint32_t value32)
{
    struct rtc *r = opaque;
    uint8_t value = (uint8_t)value32;
    (void)size;
    if ((port & 1) == 0) {
        r->s.index = value & 0x7f;
        r->s.nmi_disabled = value >> 7;
        return;
    }
    unsigned reg = r->s.index;
    switch (reg) {
    case REG_A: write_a(r, value); break;
    case REG_B: write_b(r, value); break;
    case REG_C:
    case REG_D: return;
    default:
        if (is_time(reg) && !stands_still(r)) {
            uint64_t phase = phase_now(r);
            account(r);
            store_time(r);
            r->s.cmos[reg] = value;
            if (reg == CENTURY_PS2) r->s.cmos[CENTURY] = value;
            take_time(r, phase);
        } else {
            account(r);
            r->s.cmos[reg] = value;
        }
    }
    update(r);
}

void rtc_setup(struct rtc *r, struct clock *clock, struct irq_board *irq, int64_t base)
{
    *r = (struct rtc){.clock = clock, .irq = irq, .configured = base < 0 ? 0 : (uint64_t)base};
    clock_register(clock, &r->timer, on_timer, r);
}

void rtc_reset(struct rtc *r)
{
    r->s = (struct rtc_state){.base_seconds = r->configured};
    r->s.cmos[REG_A] = 0x26;
    r->s.cmos[REG_B] = B_24H;
    clock_cancel(r->clock, &r->timer);
}

void rtc_describe(struct rtc *r, uint64_t low_ram, uint64_t high_ram, uint32_t cpus)
{
    uint8_t *m = r->s.cmos;
    uint64_t kib = low_ram >> 10;
    uint64_t above_1m = kib > 1024 ? kib - 1024 : 0;
    uint64_t above_16m = kib > 16384 ? (kib - 16384) / 64 : 0;
    uint64_t above_4g = high_ram >> 16;
    if (above_1m > 65535) above_1m = 65535;
    if (above_16m > 65535) above_16m = 65535;
    m[0x14] = 0x06; /* equipment: FPU, no display adapter of its own */
    m[0x15] = 640 & 255;
    m[0x16] = 640 >> 8;
    m[0x17] = m[0x30] = (uint8_t)above_1m;
    m[0x18] = m[0x31] = (uint8_t)(above_1m >> 8);
    m[0x34] = (uint8_t)above_16m;
    m[0x35] = (uint8_t)(above_16m >> 8);
    m[0x5b] = (uint8_t)above_4g;
    m[0x5c] = (uint8_t)(above_4g >> 8);
    m[0x5d] = (uint8_t)(above_4g >> 16);
    m[0x5f] = (uint8_t)(cpus - 1);
}

void rtc_visit(struct rtc *r, struct visitor *v)
{
    visit_u8(v, &r->s.index);
    visit_check_below(v, r->s.index, 128);
    visit_u8(v, &r->s.nmi_disabled);
    visit_u8s(v, r->s.cmos, sizeof r->s.cmos);
    visit_u64(v, &r->s.base_seconds);
    visit_u64(v, &r->s.base_cycle);
    visit_u64(v, &r->s.flags_seen);
}
