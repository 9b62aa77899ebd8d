/* SPDX-License-Identifier: MIT */
/* Routing of interrupt messages between local APICs. SDM 3A 11.6.2 (destinations), 11.6.2.4 (lowest
 * priority: among the least busy matches the choice rotates, as the manual leaves ties open). */
#include "apic/message.h"

#include <stddef.h>

#include "apic/io_apic.h"
#include "apic/local_apic.h"

static bool is_meant(const struct local_apic *l, const struct apic_message *msg, bool everybody,
                     const struct local_apic *except)
{
    return l != except && (everybody || local_apic_match(l, msg));
}

static unsigned send(struct apic_bus *b, const struct apic_message *msg, bool everybody,
                     struct local_apic *except)
{
    if (msg->delivery != APIC_LOWEST) {
        unsigned n = 0;
        for (uint32_t i = 0; i < b->count; i++)
            if (is_meant(b->apic[i], msg, everybody, except)) n += local_apic_accept(b->apic[i], msg);
        return n;
    }
    struct local_apic *best = NULL;
    for (uint32_t i = 0; i < b->count; i++) {
        struct local_apic *l = b->apic[(b->rotate + i) % b->count];
        if (!(l->s.svr & SVR_ENABLE) || !is_meant(l, msg, everybody, except)) continue;
        if (!best || local_apic_ppr(l) >> 4 < local_apic_ppr(best) >> 4) best = l;
    }
    if (!best) return 0;
    b->rotate = ((uint32_t)best->cpu_id + 1) % b->count;
    return local_apic_accept(best, msg);
}

unsigned apic_bus_send(struct apic_bus *b, const struct apic_message *msg)
{
    return send(b, msg, false, NULL);
}

unsigned apic_bus_broadcast(struct apic_bus *b, const struct apic_message *msg, struct local_apic *except)
{
    return send(b, msg, true, except);
}

void apic_bus_eoi(struct apic_bus *b, uint8_t vector)
{
    if (b->io_apic) io_apic_eoi(b->io_apic, vector);
}
