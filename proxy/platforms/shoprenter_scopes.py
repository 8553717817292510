"""Which area of scopes each resource of Shoprenter's API belongs to. From its public documentation, as of 2026-07."""

from typing import Final

from proxy.platforms.scopes import Scopes, by_segment

_AREAS: Final = {
    "cms.content": (
        "cmsContentCmsListRelations cmsContentDescriptions cmsContentExtend cmsContentListDescriptions "
        "cmsContentListExtend"
    ),
    "cms.document": "documentDescriptions documents",
    "cms.information": "informationDescriptions informationExtend",
    "customer.customer": "addresses customerExtend customers",
    "customer.customerGroup": "customerGroups",
    "localization.currency": "currencies",
    "localization.language": "languages",
    "localization.lengthUnit": "lengthClassDescriptions lengthClasses",
    "localization.location": "countries geoZones zones",
    "localization.weightUnit": "weightClassDescriptions weightClasses",
    "marketing.coupon": "couponCategoryRelations couponDescriptions couponProductRelations coupons",
    "marketing.loyaltyPoint": "loyaltyPoints loyaltyPointsUsed",
    "newsletter.subscriber": "newsletterSubscribers",
    "order.order": (
        "orderExtend orderHistories orderInvoices orderProductAddons orderProductOptions orderProducts "
        "orderTotals orders"
    ),
    "order.reorderLink": "reloadOrderUrls",
    "order.status": "orderStatusDescriptions orderStatuses",
    "payment.paymentMethod": "paymentModes",
    "product.addon": "productAddons",
    "product.attribute": (
        "attributeDescriptions attributeWidgetCategoryRelations attributeWidgetDescriptions listAttributeExtend "
        "listAttributeValueDescriptions listAttributeValues listAttributeWidgets listAttributes "
        "numberAttributeWidgetLimits numberAttributeWidgets numberAttributes productClassAttributeRelations "
        "productClasses textAttributes"
    ),
    "product.badge": "productBadgeDescriptions productBadges",
    "product.category": "categories categoryCustomerGroupRelations categoryDescriptions categoryExtend",
    "product.manufacturer": "manufacturerDescriptions manufacturers",
    "product.priceMultiplier": "priceMultipliers",
    "product.product": (
        "customerGroupProductPrices numberAttributeValues productAddonProductRelations productCategoryRelations "
        "productCollateralProductRelations productDescriptions productDocumentRelations productExtend "
        "productImages productListAttributeValueRelations productOptionDescriptions "
        "productOptionValueDescriptions productOptionValues productOptions productProductBadgeRelations "
        "productRelatedProductRelations productSpecials productTags products textAttributeValueDescriptions "
        "textAttributeValues"
    ),
    "product.stockStatus": "stockStatusDescriptions stockStatuses",
    "shipping.shippingMethod": "shippingLanes shippingModeDescriptions shippingModeExtend",
    "store.domain": "domains",
    "store.file": "files",
    "store.scriptTag": "scriptTags",
    "store.setting": "settings",
    "store.urlAlias": "urlAliases",
    "store.webhook": "webhooks",
    "taxClass.taxClass": "taxClassExtend taxClasses taxRates",
}

SHOPRENTER_SCOPES: Final = Scopes(by_segment(_AREAS), place="the shop's admin, Settings > API Settings")
