/* What a picture's file says of the picture in words. */
#ifndef KIN_IMAGE_CAPTIONS_H
#define KIN_IMAGE_CAPTIONS_H

#include "base/base.h"

/* Titles, descriptions, headlines and keywords that IPTC (IIM) and XMP blocks of the file hold, a line each, each once,
 * in new memory; NULL where there are none. XMP is read from any format, IIM from JPEG. Damaged blocks are passed over;
 * KIN_ERR_IO and KIN_ERR_MEMORY remain. */
kin_status kin_image_read_captions(const char *path, char **out, kin_error *err);

/* The same of a file in memory. */
kin_status kin_image_find_captions(const uint8_t *data, size_t size, char **out, kin_error *err);

#endif
