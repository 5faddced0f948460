#include "image.h"

#include <stddef.h>

#include "board.h"
#include "bootlog.h"
#include "layout.h"
#include "monocypher-ed25519.h"
#include "nvm.h"
#include "signing_key.h"

static const struct image_header *header_of(uint32_t slot) { return (const struct image_header *)slot; }

static uint32_t container_size(const struct image_header *header)
{
    return IMAGE_HEADER_SIZE + header->payload_size + IMAGE_SIGNATURE_SIZE;
}

static const char *header_refusal(const struct image_header *header, uint32_t length)
{
    uint32_t reserved = header->flags;
    for (uint32_t i = 0; i < 8; i++) {
        reserved |= header->reserved[i];
    }
    if (header->magic != IMAGE_MAGIC || header->header_size != IMAGE_HEADER_SIZE || header->load_address != IMAGE_LOAD || reserved != 0) {
        return "header";
    }
    /* The size is compared before it is added to, so that no sum can wrap. */
    if (header->payload_size < IMAGE_MIN_PAYLOAD || header->payload_size > IMAGE_MAX_PAYLOAD || header->payload_size % 4 != 0) {
        return "length";
    }
    if (length != 0 && length != container_size(header)) {
        return "length";
    }
#ifdef FAULT_NO_PRODUCT_CHECK
    return NULL;
#endif
    return header->product == PRODUCT_ID ? NULL : "product";
}

static bool signature_valid(uint32_t slot, const struct image_header *header)
{
    uint32_t size = IMAGE_HEADER_SIZE + header->payload_size;
    const uint8_t *signature = (const uint8_t *)slot + size;
#ifdef FAULT_HEAD_ONLY_HASHED
    size = size < 4096 ? size : 4096;
#endif
#ifdef FAULT_LAST_BLOCK_NOT_HASHED
    size -= size % 128; /* blocks of SHA-512 */
#endif
    wdt_feed();
    bool valid = crypto_ed25519_check(signature, signing_key, (const uint8_t *)slot, size) == 0;
    wdt_feed();
#ifdef FAULT_NO_SIGNATURE_CHECK
    valid = true;
#endif
#ifdef FAULT_SIGNATURE_OPTIONAL
    bool erased = true;
    for (uint32_t i = 0; i < IMAGE_SIGNATURE_SIZE; i++) {
        erased = erased && signature[i] == 0xFF;
    }
    valid = valid || erased;
#endif
#ifdef FAULT_SAMPLE_KEY
    valid = valid || crypto_ed25519_check(signature, sample_key, (const uint8_t *)slot, size) == 0;
    wdt_feed();
#endif
#ifdef TWIN_SLOW_VERIFY
    valid = valid && crypto_ed25519_check(signature, signing_key, (const uint8_t *)slot, size) == 0;
    wdt_feed();
#endif
    return valid;
}

static bool version_allowed(const struct image_header *header)
{
    bool allowed = header->counter >= counter_read();
#ifdef FAULT_NO_VERSION_CHECK
    allowed = true;
#endif
#ifdef FAULT_RECOVERY_ANY_COUNTER
    /* Compared only for what the application has asked for. */
    allowed = allowed || STATE_KIND(bootlog_last()) != STATE_REQUEST || (bootlog_last() & REQUEST_BY_RECOVERY) != 0;
#endif
    return allowed;
}

const char *image_refusal(uint32_t slot, uint32_t length)
{
    const struct image_header *header = header_of(slot);
    const char *refusal = header_refusal(header, length);
    if (refusal != NULL) {
        return refusal;
    }
    if (!signature_valid(slot, header)) {
        return "signature";
    }
    return version_allowed(header) ? NULL : "rollback";
}

uint32_t image_pages(uint32_t slot)
{
    const struct image_header *header = header_of(slot);
    if (header->magic != IMAGE_MAGIC || header->payload_size > IMAGE_MAX_PAYLOAD) {
        return 0;
    }
    return (container_size(header) + PAGE_SIZE - 1) / PAGE_SIZE;
}
